"""Every rule of the optimizer, kept and broken, as it says of itself and as a step shows it."""

import os
import threading

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from autograder.tinybert.checks import check_learning_rate, check_parameter_groups
from autograder.tinybert.collect.probe import SIZES
from autograder.tinybert.lesson import FROZEN

AdamW = torch.optim.AdamW
SETTINGS = dict(lr=2.5e-3, weight_decay=0.01)


def make_model():
    model = BertForSequenceClassification(BertConfig(**SIZES | {"num_hidden_layers": 4, "vocab_size": 50}))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith(FROZEN)
    return model


def unfrozen(model):
    return [p for p in model.parameters() if p.requires_grad]


def split(model):
    """Return unfrozen parameters as (with decay, exempt from decay)."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    exempt = [p for n, p in named if n.endswith("bias") or "LayerNorm" in n]
    return [p for _, p in named if all(p is not e for e in exempt)], exempt


def decay_groups(model):
    decayed, exempt = split(model)
    return AdamW([{"params": decayed}, {"params": exempt, "weight_decay": 0.0}], **SETTINGS)


RIGHT = {
    "list": lambda m: AdamW(unfrozen(m), **SETTINGS),
    "filter": lambda m: AdamW(filter(lambda p: p.requires_grad, m.parameters()), **SETTINGS),
    "generator": lambda m: AdamW((p for p in m.parameters() if p.requires_grad), **SETTINGS),
    "named": lambda m: AdamW([(n, p) for n, p in m.named_parameters() if p.requires_grad], **SETTINGS),
    "by layer": lambda m: AdamW(
        [{"params": part.parameters()} for part in (*m.bert.encoder.layer[2:], m.bert.pooler, m.classifier)],
        **SETTINGS,
    ),
    "decay groups": decay_groups,
    "default decay": lambda m: AdamW(unfrozen(m), lr=2.5e-3),
    "foreach": lambda m: AdamW(unfrozen(m), foreach=True, **SETTINGS),
    "fused": lambda m: AdamW(unfrozen(m), fused=True, **SETTINGS),
    "defaults spelled out": lambda m: AdamW(unfrozen(m), betas=(0.9, 0.999), eps=1e-8, amsgrad=False, **SETTINGS),
    "rate as tensor": lambda m: AdamW(unfrozen(m), lr=torch.tensor(2.5e-3), weight_decay=0.01),
    "Adam with decoupled decay": lambda m: torch.optim.Adam(
        unfrozen(m), decoupled_weight_decay=True, **SETTINGS
    ),
}  # fmt: skip


def unfreeze(model):
    model.requires_grad_(True)
    return AdamW(model.parameters(), **SETTINGS)


def freeze_more(model):
    model.bert.requires_grad_(False)
    return AdamW(unfrozen(model), **SETTINGS)


def used_up(model):
    chosen = (p for p in model.parameters() if p.requires_grad)
    list(chosen)
    optimizer = AdamW(unfrozen(model), **SETTINGS)
    optimizer.param_groups[0]["params"] = list(chosen)
    return optimizer


# name: (optimizer, points of parameter groups, of learning rate, words)
WRONG = {
    "everything": (lambda m: AdamW(m.parameters(), **SETTINGS), 1, 2, "frozen parameters are in the optimizer"),
    "frozen instead": (
        lambda m: AdamW([p for p in m.parameters() if not p.requires_grad], **SETTINGS), 0, 2, "wrong way round"),
    "classifier only": (lambda m: AdamW(m.classifier.parameters(), **SETTINGS), 1, 2, "encoder.layer.2"),
    "no pooler": (
        lambda m: AdamW([*m.bert.encoder.layer[2:].parameters(), *m.classifier.parameters()], **SETTINGS),
        1, 2, "bert.pooler.dense.weight"),
    "unfrozen after set-up": (unfreeze, 0, 2, "were unfrozen after the set-up"),
    "frozen after set-up": (freeze_more, 0, 2, "were frozen after the set-up"),
    "another model": (lambda m: AdamW(unfrozen(make_model()), **SETTINGS), 0, 2, "are no parameters of `model`"),
    "used-up generator": (used_up, 0, 2, "looped over before"),
    "rate left out": (lambda m: AdamW(unfrozen(m), weight_decay=0.01), 3, 0, "when you pass no lr"),
    "standard rate": (lambda m: AdamW(unfrozen(m), lr=2e-5, weight_decay=0.01), 3, 0, "usual rate"),
    "ten times off": (lambda m: AdamW(unfrozen(m), lr=2.5e-2, weight_decay=0.01), 3, 0, "10 times too large"),
    "one group overrides": (
        lambda m: AdamW([{"params": split(m)[0], "lr": 1e-3}, {"params": split(m)[1]}], **SETTINGS),
        3, 0, "in 1 of 2 parameter groups"),
    "no decay": (lambda m: AdamW(unfrozen(m), lr=2.5e-3, weight_decay=0.0), 3, 1, "weight decay is 0."),
    "much decay": (lambda m: AdamW(unfrozen(m), lr=2.5e-3, weight_decay=0.1), 3, 1, "weight decay is 0.1"),
    "Adam": (lambda m: torch.optim.Adam(unfrozen(m), **SETTINGS), 3, 1, "The optimizer is Adam."),
    "SGD": (lambda m: torch.optim.SGD(unfrozen(m), **SETTINGS), 3, 0, "The optimizer is SGD."),
    "the class": (lambda m: AdamW, 0, 0, "class AdamW itself"),
    "None": (lambda m: None, 0, 0, "still None"),
    "a list": (lambda m: unfrozen(m), 0, 0, "is a list"),
}  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    return make_model()


@pytest.mark.parametrize("seed", [None, 1909, 10351])
@pytest.mark.parametrize("name", RIGHT)
def test_right_optimizers_lose_nothing(name, seed, model):
    optimizer = RIGHT[name](model)
    assert check_parameter_groups(optimizer, model, seed=seed).findings == []
    assert check_learning_rate(optimizer, model, seed=seed).findings == []


@pytest.mark.parametrize("seed", [None, 1909])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_optimizers_lose_their_points_by_name(name, seed, model):
    make, groups, rate, words = WRONG[name]
    optimizer = make(model)
    verdicts = (check_parameter_groups(optimizer, model, seed=seed), check_learning_rate(optimizer, model, seed=seed))
    assert tuple(verdict.points for verdict in verdicts) == (groups, rate)
    assert words in "".join(map(str, verdicts))


def test_a_step_shows_what_the_settings_hide(model):
    class Half(AdamW):
        def step(self, closure=None):
            for group in self.param_groups:
                group["lr"] /= 2
            super().step(closure)

    optimizer = Half(unfrozen(model), **SETTINGS)
    assert check_learning_rate(optimizer, model, seed=1909).points == 0


class Holding(AdamW):
    """AdamW that holds what cannot be copied, and what must be."""

    def __init__(self, params, model, **settings):
        super().__init__(params, **settings)
        self.model, self.lock, self.log = model, threading.Lock(), open(os.devnull, "w")
        self.notice = lambda norm: self.log.write(str(norm))

    def step(self, closure=None):
        with self.lock:
            self.notice(sum(p.grad.norm() for p in self.model.parameters() if p.requires_grad))
            return super().step(closure)


def test_an_optimizer_that_holds_a_model_a_file_and_a_lock_is_right(model):
    optimizer = Holding(unfrozen(model), model, **SETTINGS)
    optimizer.param_groups[0]["lock"] = threading.Lock()
    assert check_parameter_groups(optimizer, model).findings == []
    assert check_learning_rate(optimizer, model).findings == []
    assert all(p.grad is None for p in model.parameters())


def test_what_only_the_original_has_is_no_mistake(model):
    class Named(AdamW):
        def step(self, closure=None):
            [self.names[id(p)] for group in self.param_groups for p in group["params"]]
            return super().step(closure)

    optimizer = Named(unfrozen(model), **SETTINGS)
    optimizer.names = {id(p): n for n, p in model.named_parameters()}
    assert check_learning_rate(optimizer, model).findings == []


def test_a_step_that_stops_costs_the_settings_and_not_the_groups(model):
    optimizer = torch.optim.LBFGS(unfrozen(model))
    assert check_parameter_groups(optimizer, model).points == 3
    assert check_learning_rate(optimizer, model).points == 0


def test_a_model_that_was_wrapped_has_the_parameters_it_had(model):
    wrapped = torch.compile(model)
    assert check_parameter_groups(AdamW(unfrozen(wrapped), **SETTINGS), wrapped).findings == []


def test_measuring_leaves_model_and_optimizer_alone(model):
    optimizer = AdamW(unfrozen(model), **SETTINGS)
    before = {n: p.clone() for n, p in model.named_parameters()}
    check_learning_rate(optimizer, model, seed=1909)
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters()) and not optimizer.state


def test_a_used_optimizer_is_still_right(model):
    optimizer = AdamW(unfrozen(model), **SETTINGS)
    model(input_ids=torch.ones(2, 3, dtype=torch.long), labels=torch.tensor([0, 1])).loss.backward()
    optimizer.step()
    assert check_learning_rate(optimizer, model, seed=1909).findings == []
