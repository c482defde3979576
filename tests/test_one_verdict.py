"""What the notebook's own variables and run show, and what numbers say where no rule does."""

import copy
import cProfile
from dataclasses import replace

import pytest
import torch
from loops import BACKWARD, STEP, variation
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau, SequentialLR

from autograder.tinybert import draws, judge
from autograder.tinybert.collect import collect_training, watch
from autograder.tinybert.collect.probe import Probe
from autograder.tinybert.collect.training import new_trial
from autograder.tinybert.draws import Plan
from autograder.tinybert.judge.doubts import doubts
from autograder.tinybert.records import Backward, Forward, HistoryRecord, RunRecord, TrainingRecord

SEED = 5


@pytest.fixture(scope="module")
def right():
    """The record of the solution's loop."""
    return collect_training(variation(), SEED)


def of(function):
    record = collect_training(function, SEED)
    return record, judge.judge_training_loop(record)


# --- The notebook's own optimizer


def notebooks_optimizer():
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=2.5e-3, weight_decay=0.01)


SCHEDULERS = {
    "linear": lambda o: LambdaLR(o, lambda step: 1 - step / 1000),
    "one cycle, as long as a short run": lambda o: OneCycleLR(o, max_lr=2.5e-3, total_steps=20),
    "plateau": lambda o: ReduceLROnPlateau(o, patience=0),
    "one after the other": lambda o: SequentialLR(
        o, [LambdaLR(o, lambda step: 1 - step / 50), OneCycleLR(o, max_lr=2.5e-3, total_steps=20)], milestones=[3]
    ),
}


@pytest.mark.parametrize("bound", ["global", "default"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_of_the_notebooks_optimizer_is_named_and_put_back(name, bound):
    optimizer = notebooks_optimizer()
    scheduler = SCHEDULERS[name](optimizer)
    inner = [dict(vars(s)) for s in getattr(scheduler, "_schedulers", ())]
    before, settings = dict(vars(scheduler)), copy.deepcopy(optimizer.state_dict()["param_groups"])
    step = "            scheduler.step(total + 1)\n" if name == "plateau" else "            scheduler.step()\n"
    loop = variation((STEP, STEP + step))
    loop.__globals__.update(optimizer=optimizer)
    if bound == "global":
        loop.__globals__.update(scheduler=scheduler)
    else:
        loop = variation((STEP, STEP + step), ("num_epochs=10)", "num_epochs=10, scheduler=None)"))
        loop.__globals__.update(optimizer=optimizer)
        loop.__defaults__ = (10, scheduler)
    _, findings = of(loop)
    assert [(f.rule, f.points) for f in findings] == [("settings_kept", 2)]
    assert "`lr` of the notebook's own optimizer from" in findings[0].observed
    assert inner == [vars(s) for s in getattr(scheduler, "_schedulers", ())]
    assert vars(scheduler) == before and optimizer.state_dict()["param_groups"] == settings


def test_a_loop_that_leaves_the_notebooks_optimizer_alone_is_told_nothing():
    loop = variation()
    loop.__globals__.update(optimizer=notebooks_optimizer(), scheduler=LambdaLR(notebooks_optimizer(), lambda _: 0.5))
    assert of(loop)[1] == []


# --- The notebook's own run


def own_run(loop, plan=None, **handed):
    probe = Probe(plan or Plan(epochs=2, examples=7, batch_size=3, layers=3, seed=1))
    handed = {"model": probe.model, "train_loader": probe.loader, "optimizer": probe.optimizer} | handed
    losses = None
    try:
        with watch(handed["model"], handed["train_loader"], handed["optimizer"], 2) as run:
            losses = loop(**handed, num_epochs=2)
    except (ValueError, AttributeError, ZeroDivisionError):
        pass
    return losses, run


ONLY_THERE = {  # what the loop does where the loader has three batches, as no probe of these seeds has
    "optimizer.param_groups[0]['lr'] = 1e-4": "`lr` was changed from 0.0025 to 0.0001",
    "model.eval()": "in evaluation mode in",
    "model.bert.embeddings.requires_grad_(True)": "parameters were unfrozen or frozen: `bert.embeddings",
    "model.bert.embeddings.word_embeddings.weight.data.mul_(0.9)": "1 parameters were changed, though they are frozen",
    "raise ValueError('too few')": "stopped with ValueError: too few",
}


@pytest.mark.parametrize("line", ONLY_THERE)
def test_what_shows_in_the_notebooks_own_run_alone_costs_a_point_of_the_history(line):
    spot = f"            if len(train_loader.dataset) == 7: {line}\n"
    loop = variation(("            optimizer.zero_grad()\n", spot + "            optimizer.zero_grad()\n"))
    record, findings = of(loop)
    assert findings == []
    losses, run = own_run(loop)
    (finding,) = judge.judge_loss_history(record, HistoryRecord(losses, run))
    assert finding.rule == "own_run" and finding.points == 1
    assert "In the notebook's own run" in finding.observed and ONLY_THERE[line] in finding.observed


def test_a_run_without_an_optimizer_stops_for_another_reason_than_the_loop(right):
    losses, run = own_run(variation(), optimizer=None)
    assert run.error and judge.judge_loss_history(right, HistoryRecord(losses, run)) == []


def test_a_run_is_seen_however_the_model_is_called(right):
    losses, run = own_run(variation(("out = model(", "out = model.forward(")))
    assert len(run.step_losses) == 6 and judge.judge_loss_history(right, HistoryRecord(losses, run)) == []


def test_a_run_is_seen_though_its_forward_was_wrapped_and_works_afterwards(right):
    probe = Probe(Plan(epochs=2, examples=7, batch_size=3, layers=3, seed=1))
    inner = probe.model.forward
    probe.model.forward = wrapped = lambda *args, **kwargs: inner(*args, **kwargs)
    loop = variation(("losses = []", "losses = []; model.kept = model.forward"))
    with watch(probe.model, probe.loader, probe.optimizer, 2) as run:
        losses = loop(probe.model, probe.loader, probe.optimizer, num_epochs=2)
    assert judge.judge_loss_history(right, HistoryRecord(losses, run)) == []
    assert len(run.step_losses) == 6 and probe.model.forward is wrapped
    ids = torch.tensor([[2000, 1001, 102]])
    assert torch.equal(probe.model.kept(ids).logits, probe.model(ids).logits) or probe.model.training
    assert len(run.step_losses) == 6


def test_a_look_at_gradients_is_no_step_of_the_run(right):
    look = (
        "        x, m, y = next(iter(train_loader))\n        model.eval()\n        torch.autograd.grad("
        "model(input_ids=x, attention_mask=m, labels=y).loss, model.classifier.bias)\n        mean ="
    )
    losses, run = own_run(variation(("        mean =", look)))
    assert len(run.step_losses) == 6 and judge.judge_loss_history(right, HistoryRecord(losses, run)) == []


def test_watching_leaves_the_model_as_it_was():
    probe = Probe(Plan(epochs=2, examples=7, batch_size=3, layers=3, seed=1))
    kind = type(probe.model)
    with watch(probe.model, probe.loader, probe.optimizer, 2) as run:
        twin = copy.deepcopy(probe.model)
        variation()(twin, probe.loader, torch.optim.AdamW(twin.parameters()), num_epochs=1)
    assert "forward" not in vars(probe.model) and type(probe.model) is kind and run.step_losses == []


# --- Numbers


def test_the_solution_leaves_no_doubt(right):
    assert doubts(right, right, []) == []


@pytest.mark.parametrize(
    "change",
    [
        (STEP, "            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n" + STEP),
        ("losses = []", "losses = []; train_loader = list(train_loader)"),
        ("            out =", "            with torch.autocast('cpu', torch.bfloat16): out ="),
        ("losses = []", "losses = []; model.double()"),
    ],
)
def test_clipping_another_order_and_another_precision_leave_no_doubt(right, change):
    record, findings = of(variation(change))
    assert findings == [] and doubts(record, right, findings) == []


def test_weights_that_steps_alone_do_not_lead_to_are_marked(right):
    averages = "            for p in model.parameters():\n                if p in optimizer.state: optimizer.state[p]['exp_avg'].zero_()\n"
    record, findings = of(variation((BACKWARD, averages + BACKWARD)))
    assert findings == [] and "the solution's" in doubts(record, right, findings)[0]


def test_numbers_that_were_made_up_are_marked(right):
    invented = copy.deepcopy(right)
    for event in invented.trials[0].events:
        if hasattr(event, "loss"):
            event.loss *= 1.1
    assert "other numbers" in doubts(invented, right, [])[0]


def test_settings_under_which_gradients_do_not_matter_are_marked_beside_any_mistake(right):
    claimed = copy.deepcopy(right)
    step = next(e for e in claimed.trials[0].events if hasattr(e, "norm"))
    step.settings = {"eps": [1e-4, 1e30]}
    assert doubts(claimed, right, judge.judge_training_loop(claimed))


def test_a_broken_rule_explains_other_numbers(right):
    record, findings = of(variation(("            optimizer.zero_grad()\n", "")))
    assert findings and doubts(record, right, findings) == []


def test_what_no_call_was_seen_of_is_for_a_person(right):
    unseen = copy.deepcopy(right)
    for trial in unseen.trials:
        trial.events = [event for event in trial.events if hasattr(event, "norm")]
    findings = judge.judge_training_loop(unseen)
    assert [(f.rule, f.points) for f in findings] == [("unseen", 2)]
    assert "no call of it was seen" in doubts(unseen, right, findings)[0]
    run = RunRecord(batches=1, step_losses=[0.5], batch_sizes=[3])
    assert judge.judge_loss_history(replace(unseen), HistoryRecord([0.5], run)) == []


def test_evidence_of_any_size_is_judged_once_through():
    """Ten megabytes of calls in one pass, of which one was learnt from: each was looked for among all others."""

    def work(calls):
        trial = new_trial(draws.trials(7)[0])
        one = {"passed_model": True, "training": True, "dropout": True, "grad_enabled": True, "input_ids": "right"}
        one |= {"attention_mask": "right", "labels": "right", "weights_kept": True, "loader_pass": 1, "loss": 0.7}
        trial.events = [Forward(examples=[0], **one), Backward(0, "loss", 1.0, False)]
        trial.events += [Forward(examples=[1], **one) for _ in range(calls)]
        profile = cProfile.Profile()
        profile.runcall(judge.judge_training_loop, TrainingRecord(True, "function", trials=[trial]))
        return sum(entry.callcount for entry in profile.getstats())

    assert work(4000) < 2.5 * work(2000)
