"""A tiny BERT with data and an optimizer of its own, which writes down what is done with it."""

import copy
import inspect

import torch
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification

from ..lesson import FROZEN, LEARNING_RATE, WEIGHT_DECAY
from ..records import Backward, Forward, Step
from .optimizer import plain_settings
from .replay import Replay, explains

# As many tokens and positions as any BERT has, so that a loop which also runs the
# notebook's validation_loader through the probe finds nothing out of range.
SIZES = dict(
    vocab_size=30522,
    hidden_size=12,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=512,
)
FIRST_TOKEN = 2000  # example i begins with this token + i, so that it can be told from any other


class ProbeLoader(DataLoader):
    """A DataLoader that counts how often iteration over it begins."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


class Probe:
    """A fresh model, train_loader and optimizer; use as a context manager, then read `events`.

    The model is handed over in evaluation mode, as `from_pretrained` does it.
    """

    def __init__(self, examples, batch_size, seed):
        torch.manual_seed(seed)
        self.model = BertForSequenceClassification(BertConfig(**SIZES))
        # Wide enough apart that the batches of an epoch have clearly different losses.
        torch.nn.init.normal_(self.model.classifier.weight, std=1.0)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad = not name.startswith(FROZEN)
        self.model.eval()
        self.twin = copy.deepcopy(self.model)  # for replays, out of everybody's sight
        self.optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
        )
        # Lengths differ within any batch: each one has padding, so each mask matters.
        order = torch.randperm(examples).tolist()
        self.rows = [
            [FIRST_TOKEN + i, *torch.randint(1000, 1999, (2 + order[i],)).tolist()] for i in range(examples)
        ]
        self.labels = torch.randint(0, 2, (examples,)).tolist()
        self.loader = ProbeLoader(
            list(zip(self.rows, self.labels)),
            batch_size=batch_size,
            shuffle=True,
            collate_fn=self.collate,
        )
        self.events = []
        self.replays = {}  # by number of the forward call
        self.start = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.flags = {name: p.requires_grad for name, p in self.model.named_parameters()}
        self.settled = {}  # the weights as the last step left them
        self.settings = [plain_settings(group) for group in self.optimizer.param_groups]

    @staticmethod
    def collate(batch):
        """Pad a list of (row, label) to three tensors, as the notebook's loader does."""
        width = max(len(row) for row, _ in batch)
        ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
        return ids, (ids != 0).long(), torch.tensor([label for _, label in batch])

    def __enter__(self):
        # Plain functions: a deep copy of the model then reports to this probe too.
        self.model.register_forward_pre_hook(
            lambda model, args, kwargs: self.before_forward(model, args, kwargs), with_kwargs=True
        )
        self.model.register_forward_hook(lambda model, args, output: self.after_forward(output))
        # After, not before: step(closure) computes the loss and its gradients inside.
        self.handle = register_optimizer_step_post_hook(self.after_step)
        return self

    def __exit__(self, *exception):
        self.handle.remove()

    def before_forward(self, model, args, kwargs):
        """Record a call before it can fail, with what reached each argument."""
        given = inspect.signature(type(model).forward).bind_partial(model, *args, **kwargs)
        given = {name: value for name, value in given.arguments.items() if value is not None}
        ids = given.get("input_ids")
        examples = self.identify(ids)
        known = bool(examples) and min(examples) >= 0
        weights = self.weights()
        ids_right = known and torch.equal(ids.cpu(), self.collate([(self.rows[i], 0) for i in examples])[0])
        self.events.append(
            Forward(
                passed_model=model is self.model,
                examples=examples,
                loader_pass=self.loader.passes,
                training=all(module.training for module in model.modules()),
                grad_enabled=torch.is_grad_enabled(),
                input_ids="missing" if ids is None else "right" if ids_right else "other",
                attention_mask=self.describe_mask(given.get("attention_mask"), ids if known else None),
                labels=self.describe_labels(given, examples if known else None),
                weights_kept=all(torch.equal(weights[n], w) for n, w in self.settled.items()),
            )
        )
        if model is self.model and torch.is_grad_enabled():
            self.replays[self.forwards() - 1] = Replay(model, weights, args, kwargs)

    def forwards(self):
        return sum(isinstance(event, Forward) for event in self.events)

    def after_forward(self, output):
        """Record the loss, and be told when gradients flow back from it."""
        forward, number = self.events[-1], self.forwards() - 1
        tensors = output if isinstance(output, tuple) else output.to_tuple()
        has_loss = tensors[0].dim() == 0
        if has_loss:
            forward.loss = tensors[0].item()
        elif forward.examples and min(forward.examples) >= 0:
            labels = torch.tensor([self.labels[i] for i in forward.examples])
            forward.loss = cross_entropy(tensors[0].detach(), labels).item()
        for of, tensor in (("loss", tensors[0] if has_loss else None), ("logits", tensors[int(has_loss)])):
            if tensor is not None and tensor.requires_grad:
                tensor.register_hook(lambda gradient, of=of: self.on_backward(number, of, gradient))

    def on_backward(self, number, of, gradient):
        """Record the first gradient that reaches a forward call's outputs."""
        last = self.events[-1]
        if isinstance(last, Backward) and last.forward == number and of == "logits":
            return  # the same backward call, one node further down
        self.events.append(
            Backward(
                forward=number,
                of=of,
                scale=gradient.item() if of == "loss" else 1.0,
                left_over=self.has_gradients(),
            )
        )

    def after_step(self, optimizer, args, kwargs):
        """Record a step of any optimizer in the process."""
        self.events.append(
            Step(
                passed_optimizer=optimizer is self.optimizer,
                has_gradients=self.has_gradients(),
                settings_kept=self.settings_kept(),
                own_gradients=self.own_gradients(),
            )
        )
        self.settled = self.weights()

    def moving(self):
        """Yield (name, parameter) of what a step would move: what was handed over unfrozen."""
        return ((name, p) for name, p in self.model.named_parameters() if self.flags.get(name))

    def weights(self):
        return {name: p.detach().clone() for name, p in self.moving()}

    def gradients(self):
        return {name: p.grad for name, p in self.moving()}

    def has_gradients(self):
        """Whether any parameter that a step would move holds a gradient other than zero."""
        return any(g is not None and bool(g.any()) for g in self.gradients().values())

    def own_gradients(self):
        """Whether the gradients are those of the batch that was differentiated last."""
        last = next((e.forward for e in reversed(self.events) if isinstance(e, Backward)), None)
        if last not in self.replays:
            return True  # no backward, or another model: there are rules for these
        expected = self.replays[last].gradients(self.twin)
        return expected is None or explains(expected, self.gradients())

    def settings_kept(self):
        """Whether the optimizer's settings are those it was handed over with."""
        return [plain_settings(group) for group in self.optimizer.param_groups] == self.settings

    def identify(self, ids):
        """Return the example number of each row of `ids` (batch, tokens); -1 if it is none."""
        if not isinstance(ids, torch.Tensor) or ids.dim() != 2:
            return []
        numbers = [int(first) - FIRST_TOKEN for first in ids[:, 0]]
        return [
            i if 0 <= i < len(self.rows) and ids[k, 1] == self.rows[i][1] else -1
            for k, i in enumerate(numbers)
        ]

    @staticmethod
    def describe_mask(mask, ids):
        if mask is None:
            return "missing"
        if ids is not None and mask.shape == ids.shape:
            if torch.equal(mask.bool(), ids != 0) and bool((mask.bool() == mask).all()):
                return "right"
            if bool((mask == 1).all()):
                return "ones"
        return "other"

    def describe_labels(self, given, examples):
        expected = None if examples is None else [self.labels[i] for i in examples]

        def matches(value):
            return (
                isinstance(value, torch.Tensor)
                and value.shape == (len(expected),)
                and value.tolist() == expected
            )

        labels = given.get("labels")
        if labels is None:
            stray = [n for n, v in given.items() if n != "input_ids" and expected and matches(v)]
            return stray[0] if stray else "missing"
        if isinstance(labels, torch.Tensor) and labels.is_floating_point():
            return "float"
        return "right" if expected is not None and matches(labels) else "other"

    def changes(self):
        """Return the names of frozen parameters that moved, and of those whose flag changed."""
        now = dict(self.model.named_parameters())
        moved = [n for n, flag in self.flags.items() if not flag and not torch.equal(now[n], self.start[n])]
        return moved, [n for n, flag in self.flags.items() if now[n].requires_grad != flag]
