"""Write down what is done with a probe, call by call."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any, Literal, TypeGuard

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy, one_hot
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ..records import Backward, Forward, Step
from .calls import Args, Function, Kwargs, reported
from .optimizer import changed_settings, plain_settings
from .probe import Probe
from .replay import Replay, Twin, explains

# The model's other arguments, and whether their rows are what it takes when it is not given any.
DEFAULTS: dict[str, Callable[[Tensor], bool]] = {
    "token_type_ids": lambda rows: not rows.any(),
    "position_ids": lambda rows: bool((rows == torch.arange(rows.shape[-1])).all()),
}


CLIPPED = 0.97  # of a gradient's norm; reduced precision changes it by less


class Recorder:
    """Watches a probe's model and optimizer; use as a context manager, then ask for what was `learning`.

    The model is seen however it is called, as a whole or its two parts one by one, and so are its
    copies. Each step's gradients are compared with those of its batch.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.events: list[Forward | Backward | Step] = []
        self.replays: dict[int, Replay] = {}  # by number of the forward call
        self.twin = Twin(probe.model)
        self.inside = 0  # calls of a whole model under way
        self.in_parts: int | None = None  # number of the forward call whose classifier is still to be called
        self.flags_changed: list[str] = []
        self.dropout = {name: module.p for name, module in probe.model.named_modules() if is_dropout(module)}
        self.settled = self.weights()  # as the last step left them
        self.remembered = 0  # steps that the optimizer knew of after the last one
        self.begun: list[int] = []  # steps so far, when each of other optimizers' steps under way began
        self.settings = [plain_settings(group) for group in probe.optimizer.param_groups]
        self.call: int | None = None  # the backward call under way
        self.called_back: list[Backward] = []  # the losses it went through
        self.held: set[str] = set()  # parameters with gradients when it began, by name
        self.arrived: set[int] = set()  # ids of Backwards whose gradients came to the parameters
        self.left_norm = 0.0  # of the gradients that the last backward call left
        self.on_the_way: dict[int, Backward] = {}  # those that came to a loss, by number of its forward call

    def __enter__(self) -> "Recorder":
        self.encoder, classifier = self.probe.model.bert, self.probe.model.classifier
        self.watched = ExitStack()
        for module, called in (
            (self.probe.model, self.called), (self.encoder, self.called_encoder),
            (classifier, self.called_classifier),
        ):  # fmt: skip
            self.watched.enter_context(reported(module, called))
        # torch.autograd.grad comes through the model too, but leaves no gradients behind.
        bias = self.probe.model.classifier.bias
        # After, not before: step(closure) computes the loss and its gradients inside. And before any hook of
        # the loop's, which may clear them: an optimizer's own come first, in the order of their making.
        self.handles = [
            bias.register_post_accumulate_grad_hook(lambda bias: self.on_gradient()),
            self.probe.optimizer.register_step_post_hook(self.after_step),
            register_optimizer_step_pre_hook(self.before_others_step),
            register_optimizer_step_post_hook(self.after_others_step),
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        self.watched.close()
        for handle in self.handles:
            handle.remove()

    def learning(self, stopped: bool) -> list[Forward | Backward | Step]:
        """Return the events without the Backwards that only looked at gradients, by torch.autograd.grad.

        stopped: whether the loop ended in an error, which the last one may have been on its way to.
        """
        if not self.arrived:  # then the loop may put gradients where they belong by itself
            return self.events
        arrived = self.arrived | (set(map(id, self.called_back)) if stopped else set())
        return [e for e in self.events if not isinstance(e, Backward) or id(e) in arrived]

    # --- Calls of the model

    def called(self, model: Module, forward: Function, args: Args, kwargs: Kwargs) -> Any:
        """Return what forward(*args, **kwargs) of a model does, recorded."""
        if self.inside:
            return forward(*args, **kwargs)
        number = self.before(model, model, args, kwargs)
        self.inside += 1
        try:
            output = forward(*args, **kwargs)
        finally:
            self.inside -= 1
        tensors = output if isinstance(output, tuple) else output.to_tuple()
        has_loss = tensors[0].dim() == 0
        self.after(number, tensors[int(has_loss)], tensors[0] if has_loss else None)
        return output

    def called_encoder(self, part: Module, forward: Function, args: Args, kwargs: Kwargs) -> Any:
        """Do the same for the encoder alone."""
        if not self.inside:
            self.in_parts = self.before(self.probe.model, part, args, kwargs)
        return forward(*args, **kwargs)

    def called_classifier(self, part: Module, forward: Function, args: Args, kwargs: Kwargs) -> Any:
        """Record what the classifier makes of the encoder's output."""
        logits = forward(*args, **kwargs)
        if not self.inside and self.in_parts is not None:
            number, self.in_parts = self.in_parts, None
            self.after(number, logits, None)
        return logits

    def before(self, model: Module, called: Module, args: Args, kwargs: Kwargs) -> int:
        """Record a call before it can fail, with what reached each argument; return its number.

        called: the model itself, or its encoder.
        """
        bound = signature(inspect.unwrap(type(called).forward)).bind_partial(called, *args, **kwargs)
        given = {name: value for name, value in bound.arguments.items() if value is not None}
        ids: Any = given.get("input_ids")
        examples = self.probe.identify(ids)
        known = bool(examples) and min(examples) >= 0
        rows = self.probe.collate([(self.probe.rows[i], 0) for i in examples])[0] if known else None
        ids_right = rows is not None and not ids.is_floating_point() and same_rows(ids.cpu().long(), rows)
        weights: dict[str, Tensor] = dict(self.probe.moving)
        modules = dict(model.named_modules())  # once: it takes a model long to list them
        on = {name: m.p for name, m in modules.items() if is_dropout(m) and m.training}
        forward = Forward(
            passed_model=called is self.probe.model or called is self.encoder,
            examples=examples,
            loader_pass=self.probe.pass_of(examples),
            training=model.training,
            dropout=on == self.dropout and all(m.training for m in modules.values()),
            some_dropout=any(on.values()),
            grad_enabled=torch.is_grad_enabled(),
            input_ids="missing" if ids is None else "right" if ids_right else "other",
            attention_mask=self.describe_mask(given.get("attention_mask"), ids if known else None),
            labels=self.describe_labels(given, examples if known else None),
            weights_kept=all(same(weights[n], w) for n, w in self.settled.items()),
            others=[n for n, usual in DEFAULTS.items() if is_tensor(given.get(n)) and not usual(given[n])],
        )
        self.events.append(forward)
        number = sum(isinstance(event, Forward) for event in self.events) - 1
        looked_at = self.probe.steps % self.probe.plan.replayed == 0
        if called is self.probe.model and forward.grad_enabled and looked_at:
            weights = self.settled if forward.weights_kept else self.weights()
            self.replays[number] = Replay(modules, weights, args, kwargs)
        return number

    def after(self, number: int, logits: Tensor, loss: Tensor | None) -> None:
        """Record the loss, and be told when gradients flow back from it."""
        forward = [event for event in self.events if isinstance(event, Forward)][number]
        known = forward.examples and min(forward.examples) >= 0
        labels = torch.tensor([self.probe.labels[i] for i in forward.examples]) if known else None
        if loss is not None:
            forward.loss = loss.item()
        elif labels is not None:
            forward.loss = cross_entropy(logits.detach().float(), labels).item()
        if not logits.requires_grad:
            return
        # What the model's loss of the batch's own labels sends back to the logits, where it is known.
        plain = gradient_of_loss(logits, labels) if labels is not None else None
        own = plain if loss is not None and forward.labels == "right" else None
        if loss is not None:
            loss.register_hook(lambda gradient: self.on_loss_gradient(number, gradient))
        logits.register_hook(lambda gradient: self.on_logits_gradient(number, own, plain, gradient))

    # --- Backward calls

    def on_loss_gradient(self, number: int, gradient: Tensor) -> None:
        """Record a backward call through the loss of a forward call; its logits come next."""
        self.on_the_way[number] = self.record_backward(number, "loss", scale=gradient.item())

    def on_logits_gradient(
        self, number: int, own: Tensor | None, plain: Tensor | None, gradient: Tensor
    ) -> None:
        """Record a backward call through the logits, unless it came from the model's loss alone."""
        backward = self.on_the_way.pop(number, None)
        if backward is None:
            backward = self.record_backward(number, "logits")
        elif own is None or equal(gradient, backward.scale * own):
            return
        backward.of, backward.scale = "logits", 1.0
        backward.plain = plain is not None and equal(gradient, plain)

    def record_backward(self, number: int, of: Literal["loss", "logits"], scale: float = 1.0) -> Backward:
        call = torch._C._current_graph_task_id()  # as torch.autograd.graph's own hooks tell calls apart
        joined = call == self.call
        if not joined:
            self.call, self.called_back = call, []
            self.held = {name for name, p in self.probe.moving if p.grad is not None and bool(p.grad.any())}
        backward = Backward(forward=number, of=of, scale=scale, left_over=False, joined=joined)
        self.called_back.append(backward)
        self.events.append(backward)
        return backward

    def on_gradient(self) -> None:
        """Note whether a backward call has added to gradients that were there before."""
        if torch._C._current_graph_task_id() == self.call:
            self.arrived |= set(map(id, self.called_back))
            names = [name for name, _ in self.probe.moving]
            first = self.called_back[0]
            torch.autograd.Variable._execution_engine.queue_callback(self.after_backward)
            first.left_over = bool(self.held)
            first.cleared = [name for name in names if name not in self.held] if self.held else []

    def after_backward(self) -> None:
        """Note how large the gradients are that a backward call has left."""
        self.left_norm = self.norm()

    # --- Steps

    def before_others_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Note how many steps there were before a step of another optimizer."""
        if optimizer is not self.probe.optimizer:
            self.begun.append(self.probe.steps)

    def after_others_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Record a step of another optimizer, unless it wraps one of the passed one's."""
        if optimizer is not self.probe.optimizer and self.begun.pop() == self.probe.steps:
            self.after_step(optimizer, args, kwargs)

    def after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Record a step of any optimizer in the process."""
        norm, expected = self.norm(), self.expected()
        scale = next((abs(e.scale) for e in reversed(self.events) if isinstance(e, Backward)), 1.0)
        most = [self.left_norm / max(1.0, scale)]  # of a GradScaler's, what is left when they are unscaled
        most += [norm_of(expected.values())] if expected else []
        gradients = {name: p.grad for name, p in self.probe.moving}
        self.events.append(
            Step(
                passed_optimizer=optimizer is self.probe.optimizer,
                gradients=self.gradients_now(),
                norm=norm,
                settings=changed_settings(self.probe.optimizer, self.settings),
                own_gradients=explains(expected, gradients) if expected else None,
                clipped=any(norm < CLIPPED * before for before in most),
                forgot=self.forgot(),
            )
        )
        self.note_flags()
        self.probe.steps += optimizer is self.probe.optimizer
        self.settled = self.weights()
        self.replays.clear()

    def weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.probe.moving}

    def gradients_now(self) -> Literal["some", "zero", "none"]:
        """Say what gradients the parameters hold that a step would move."""
        found = [p.grad for _, p in self.probe.moving if p.grad is not None]
        return "some" if any(bool(g.any()) for g in found) else "zero" if found else "none"

    def norm(self) -> float:
        """Return the norm of all gradients."""
        return norm_of(p.grad for _, p in self.probe.moving if p.grad is not None)

    def expected(self) -> dict[str, Tensor] | None:
        """Return the gradients of the batch that was differentiated last, or None where it is unknown."""
        last = next((e.forward for e in reversed(self.events) if isinstance(e, Backward)), None)
        if last not in self.replays or torch.is_autocast_enabled("cpu"):
            return None  # another model; or autocast still keeps weights of earlier steps
        return self.replays[last].gradients(self.twin)

    def forgot(self) -> bool:
        """Whether AdamW counts a later step as its first."""
        parameter, before = self.probe.moving[0][1], self.remembered
        self.remembered = int(self.probe.optimizer.state.get(parameter, {}).get("step", 0))
        return self.remembered == 1 <= before and parameter.grad is not None

    @staticmethod
    def describe_mask(mask: Any, ids: Tensor | None) -> Literal["right", "missing", "ones", "other"]:
        if mask is None:
            return "missing"
        if ids is not None and mask.shape == ids.shape:
            if torch.equal(mask.bool(), ids != 0) and bool((mask.bool() == mask).all()):
                return "right"
            if bool((mask == 1).all()):
                return "ones"
        return "other"

    def describe_labels(self, given: Mapping[str, Any], examples: list[int] | None) -> str:
        expected = None if examples is None else [self.probe.labels[i] for i in examples]

        def matches(value: object) -> bool:
            return (
                isinstance(value, Tensor)
                and expected is not None
                and value.shape == (len(expected),)
                and value.tolist() == expected
            )

        labels = given.get("labels")
        if isinstance(labels, Tensor) and labels.dtype == torch.bool:
            return "other"
        if labels is None:
            stray = [n for n, v in given.items() if n != "input_ids" and expected and matches(v)]
            return stray[0] if stray else "missing"
        if isinstance(labels, Tensor) and labels.is_floating_point():
            return "float"
        return "right" if matches(labels) else "other"

    def note_flags(self) -> None:
        """Note which parameters have been frozen or unfrozen by now."""
        changed = [n for n, p in self.probe.parameters.items() if p.requires_grad != self.probe.flags[n]]
        self.flags_changed += [n for n in changed if n not in self.flags_changed]

    def weights_kept(self) -> bool:
        """Whether the weights are still as the last step left them."""
        weights = self.weights()
        return all(same(weights[n], w) for n, w in self.settled.items())

    def frozen_changed(self) -> list[str]:
        """Return the names of frozen parameters that moved."""
        now = self.probe.parameters
        frozen = [name for name, flag in self.probe.flags.items() if not flag]
        return [name for name in frozen if not same(now[name], self.probe.start[name])]


@cache
def signature(forward: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a model class's own forward."""
    return inspect.signature(forward)


def same_rows(ids: Tensor, rows: Tensor) -> bool:
    """Whether two batches of token ids are equal, but for columns of padding at the end of the first."""
    width = rows.shape[1]
    return torch.equal(ids[:, :width], rows) and not bool(ids[:, width:].any())


def norm_of(gradients: Iterable[Tensor]) -> float:
    """Return the norm of several gradients together."""
    found = list(gradients)
    return float(torch.stack([norm.float() for norm in torch._foreach_norm(found)]).norm()) if found else 0.0


def same(values: Tensor, others: Tensor) -> bool:
    """Whether two tensors hold the same values; double precision may be rounded to single."""
    exact = values.dtype == others.dtype or {values.dtype, others.dtype} != {torch.float32, torch.float64}
    return torch.equal(*((values, others) if exact else (values.float(), others.float())))


def is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def is_dropout(module: Module) -> TypeGuard[torch.nn.Dropout]:
    return isinstance(module, torch.nn.Dropout)


def gradient_of_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what the mean cross-entropy of `labels` sends back to `logits` (examples, classes)."""
    logits = logits.detach().float()
    return (logits.softmax(-1) - one_hot(labels, logits.shape[-1])) / len(labels)


def equal(gradient: Tensor, wanted: Tensor) -> bool:
    """Whether two gradients are equal, but for what reduced precision does to them; NaN equals NaN."""
    tolerance = 0.05 if gradient.dtype in (torch.bfloat16, torch.float16) else 0.01
    return not bool((gradient.float() - wanted).abs().max() > tolerance * wanted.abs().max())
