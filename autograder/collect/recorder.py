"""Write down what is done with a probe, call by call."""

import copy
import inspect
from functools import cache

import torch
from torch.nn.functional import cross_entropy, one_hot
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..records import Backward, Forward, Step
from .optimizer import plain_settings
from .replay import Replay, explains


class Recorder:
    """Watches a probe's model and optimizer; use as a context manager, then read `events`.

    With `replays`, each step's gradients are compared with those of its batch.
    """

    def __init__(self, probe, replays=False):
        self.probe, self.events = probe, []
        self.replays = {} if replays else None  # by number of the forward call
        self.twin = copy.deepcopy(probe.model) if replays else None  # out of everybody's sight
        self.flags_changed = []
        self.dropout = {name: module.p for name, module in probe.model.named_modules() if is_dropout(module)}
        self.settled = {}  # the weights as the last step left them
        self.remembered = 0  # steps that the optimizer knew of after the last one
        self.settings = [plain_settings(group) for group in probe.optimizer.param_groups]
        self.call, self.called = None, []  # the backward call under way, and the losses it went through
        self.held = set()  # parameters with gradients when it began, by name
        self.arrived = set()  # ids of Backwards whose gradients came to the parameters
        self.on_the_way = {}  # backward calls that have come to a loss, by number of its forward call

    def __enter__(self):
        # Plain functions: a deep copy of the model then reports here too.
        self.probe.model.register_forward_pre_hook(
            lambda model, args, kwargs: self.before_forward(model, args, kwargs), with_kwargs=True
        )
        self.probe.model.register_forward_hook(lambda model, args, output: self.after_forward(output))
        # torch.autograd.grad comes through the model too, but leaves no gradients behind.
        bias = self.probe.model.classifier.bias
        # After, not before: step(closure) computes the loss and its gradients inside.
        self.handles = [
            bias.register_post_accumulate_grad_hook(lambda bias: self.on_gradient()),
            register_optimizer_step_post_hook(self.after_step),
        ]
        return self

    def __exit__(self, *exception):
        for handle in self.handles:
            handle.remove()
        # torch.autograd.grad, to look at gradients of a loss that is also learnt from, is no backward().
        learnt = {e.forward for e in self.events if id(e) in self.arrived}
        self.arrived |= set(map(id, self.called))  # the last call may have ended in an error
        self.events = [
            e for e in self.events
            if not isinstance(e, Backward) or id(e) in self.arrived or e.forward not in learnt
        ]  # fmt: skip

    def before_forward(self, model, args, kwargs):
        """Record a call before it can fail, with what reached each argument."""
        given = signature(type(model)).bind_partial(model, *args, **kwargs)
        given = {name: value for name, value in given.arguments.items() if value is not None}
        ids = given.get("input_ids")
        examples = self.probe.identify(ids)
        known = bool(examples) and min(examples) >= 0
        rows = self.probe.collate([(self.probe.rows[i], 0) for i in examples])[0] if known else None
        ids_right = known and not ids.is_floating_point() and same_rows(ids.cpu().long(), rows)
        # Copies only for a replay, which comes later.
        weights = self.weights() if self.replays is not None else dict(self.probe.moving)
        modules = dict(model.named_modules())  # once: it takes a model long to list them
        on = {name: m.p for name, m in modules.items() if is_dropout(m) and m.training}
        forward = Forward(
            passed_model=model is self.probe.model,
            examples=examples,
            loader_pass=self.probe.pass_of(examples),
            training=model.training,
            dropout=on == self.dropout and all(m.training for m in modules.values()),
            grad_enabled=torch.is_grad_enabled(),
            input_ids="missing" if ids is None else "right" if ids_right else "other",
            attention_mask=self.describe_mask(given.get("attention_mask"), ids if known else None),
            labels=self.describe_labels(given, examples if known else None),
            weights_kept=all(torch.equal(weights[n], w) for n, w in self.settled.items()),
        )
        if on != self.dropout:
            forward.dropouts = [on.get(name, 0.0) for name in self.dropout]
        tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
        described = {forward.input_ids, forward.attention_mask, forward.labels}
        if described != {"right"} or set(tensors) != {"input_ids", "attention_mask", "labels"}:
            forward.given = {name: value.tolist() for name, value in tensors.items()}
        self.events.append(forward)
        if self.replays is not None and model is self.probe.model and torch.is_grad_enabled():
            self.replays[self.forwards() - 1] = Replay(model, weights, args, kwargs)

    def forwards(self):
        return sum(isinstance(event, Forward) for event in self.events)

    def after_forward(self, output):
        """Record the loss, and be told when gradients flow back from it."""
        forward, number = self.events[-1], self.forwards() - 1
        tensors = output if isinstance(output, tuple) else output.to_tuple()
        has_loss = tensors[0].dim() == 0
        logits, known = tensors[int(has_loss)], forward.examples and min(forward.examples) >= 0
        labels = torch.tensor([self.probe.labels[i] for i in forward.examples]) if known else None
        if has_loss:
            forward.loss = tensors[0].item()
        elif known:
            forward.loss = cross_entropy(logits.detach(), labels).item()
        if not logits.requires_grad:
            return
        # What the model's loss of the batch's own labels sends back to the logits, where it is known.
        plain = gradient_of_loss(logits, labels) if known else None
        own = plain if has_loss and forward.labels == "right" else None
        if has_loss:
            tensors[0].register_hook(lambda gradient: self.on_loss_gradient(number, gradient))
        logits.register_hook(lambda gradient: self.on_logits_gradient(number, own, plain, gradient))

    def on_loss_gradient(self, number, gradient):
        """Record a backward call through the loss of a forward call; its logits come next."""
        self.on_the_way[number] = self.record_backward(number, "loss", scale=gradient.item())

    def on_logits_gradient(self, number, own, plain, gradient):
        """Record a backward call through the logits, unless it came from the model's loss alone."""
        backward = self.on_the_way.pop(number, None)
        if backward is None:
            backward = self.record_backward(number, "logits")
        elif own is None or equal(gradient, backward.scale * own):
            return
        backward.of, backward.scale, backward.gradient = "logits", 1.0, gradient.tolist()
        backward.plain = plain is not None and equal(gradient, plain)

    def record_backward(self, number, of, scale=1.0):
        call = torch._C._current_graph_task_id()  # as torch.autograd.graph's own hooks tell calls apart
        joined = call == self.call
        if not joined:
            self.call, self.called = call, []
            self.held = {name for name, p in self.probe.moving if p.grad is not None and bool(p.grad.any())}
        self.called.append(Backward(forward=number, of=of, scale=scale, left_over=False, joined=joined))
        self.events.append(self.called[-1])
        return self.called[-1]

    def on_gradient(self):
        """Note whether a backward call has added to gradients that were there before."""
        if torch._C._current_graph_task_id() == self.call:
            self.arrived |= set(map(id, self.called))
            names = [name for name, _ in self.probe.moving]
            self.called[0].left_over = bool(self.held)
            self.called[0].cleared = [name for name in names if name not in self.held] if self.held else []

    def after_step(self, optimizer, args, kwargs):
        """Record a step of any optimizer in the process."""
        found = [torch.zeros(1) if p.grad is None else p.grad for _, p in self.probe.moving]
        self.events.append(
            Step(
                passed_optimizer=optimizer is self.probe.optimizer,
                gradients=self.gradients_now(),
                norms=torch.stack(torch._foreach_norm(found)).tolist(),
                largest=torch.stack(torch._foreach_norm(found, torch.inf)).tolist(),
                settings=self.changed_settings(),
                own_gradients=self.own_gradients(),
                forgot=self.forgot(),
            )
        )
        self.note_flags()
        self.probe.steps += optimizer is self.probe.optimizer
        self.settled = self.weights()

    def weights(self):
        return {name: p.detach().clone() for name, p in self.probe.moving}

    def gradients_now(self):
        """Say whether parameters that a step would move hold "some" gradients, "zero", or "none"."""
        found = [p.grad for _, p in self.probe.moving if p.grad is not None]
        return "some" if any(bool(g.any()) for g in found) else "zero" if found else "none"

    def own_gradients(self):
        """Whether the gradients are those of the batch that was differentiated last."""
        last = next((e.forward for e in reversed(self.events) if isinstance(e, Backward)), None)
        if last not in (self.replays or {}):
            return True  # no backward, or another model: there are rules for these
        expected = self.replays[last].gradients(self.twin)
        return expected is None or explains(expected, {name: p.grad for name, p in self.probe.moving})

    def forgot(self):
        """Whether AdamW counts a later step as its first."""
        parameter, before = self.probe.moving[0][1], self.remembered
        self.remembered = int(self.probe.optimizer.state.get(parameter, {}).get("step", 0))
        return self.remembered == 1 <= before and parameter.grad is not None

    def changed_settings(self):
        """Return {setting: [as handed over, now]} of those that differ; a scheduler's own are none."""
        changed = {}
        for was, group in zip(self.settings, self.probe.optimizer.param_groups):
            now = plain_settings(group)
            changed |= {key: [value, now.get(key)] for key, value in was.items() if now.get(key) != value}
        if len(self.probe.optimizer.param_groups) != len(self.settings):
            changed["param_groups"] = [len(self.settings), len(self.probe.optimizer.param_groups)]
        return changed

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
        expected = None if examples is None else [self.probe.labels[i] for i in examples]

        def matches(value):
            return (
                isinstance(value, torch.Tensor)
                and value.shape == (len(expected),)
                and value.tolist() == expected
            )

        labels = given.get("labels")
        if isinstance(labels, torch.Tensor) and labels.dtype == torch.bool:
            return "other"
        if labels is None:
            stray = [n for n, v in given.items() if n != "input_ids" and expected and matches(v)]
            return stray[0] if stray else "missing"
        if isinstance(labels, torch.Tensor) and labels.is_floating_point():
            return "float"
        return "right" if expected is not None and matches(labels) else "other"

    def note_flags(self):
        """Note which parameters have been frozen or unfrozen by now."""
        changed = [n for n, p in self.probe.parameters.items() if p.requires_grad != self.probe.flags[n]]
        self.flags_changed += [n for n in changed if n not in self.flags_changed]

    def weights_kept(self):
        """Whether the weights are still as the last step left them."""
        weights = self.weights()
        return all(torch.equal(weights[n], w) for n, w in self.settled.items())

    def changes(self):
        """Return the names of frozen parameters that moved, and of those whose flag changed meanwhile."""
        now = dict(self.probe.model.named_parameters())
        frozen = [name for name, flag in self.probe.flags.items() if not flag]
        moved = [name for name in frozen if not torch.equal(now[name], self.probe.start[name])]
        self.note_flags()
        return moved, self.flags_changed


@cache
def signature(kind):
    """Return the signature of a model class's forward."""
    return inspect.signature(kind.forward)


def same_rows(ids, rows):
    """Whether two batches of token ids are equal, but for columns of padding at the end of the first."""
    width = rows.shape[1]
    return torch.equal(ids[:, :width], rows) and not bool(ids[:, width:].any())


def is_dropout(module):
    return isinstance(module, torch.nn.Dropout)


def gradient_of_loss(logits, labels):
    """Return what the mean cross-entropy of `labels` sends back to `logits` (examples, classes)."""
    logits = logits.detach().float()
    return (logits.softmax(-1) - one_hot(labels, logits.shape[-1])) / len(labels)


def equal(gradient, wanted):
    """Whether two gradients are equal, but for what reduced precision does to them; NaN equals NaN."""
    return not bool((gradient.float() - wanted).abs().max() > 0.01 * wanted.abs().max())
