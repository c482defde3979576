"""Watch the notebook's own training run."""

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..records import RunRecord
from .calls import Args, Function, Kwargs, reported
from .optimizer import changed_settings, describe, plain_settings


@contextmanager
def watch(
    model: torch.nn.Module,
    train_loader: DataLoader[Any],
    optimizer: Any,
    num_epochs: int,
    each_epoch: Callable[[], Any] = lambda: None,
    picture: Any = None,
) -> Iterator[RunRecord]:
    """Show a progress bar over the training steps of `model` and record each step's loss.

    Yields the RunRecord that fills up meanwhile; `each_epoch` is called after every epoch
    and its results are kept there. picture: what is shown in place of the bar, such as a
    `figures.Live`; it is told of the record, of each step, and of the end. A forward call that
    gradients flow back to is a step, so validation passes inside the loop are left out.
    """
    record, others = RunRecord(batches=len(train_loader)), RunRecord(batches=len(train_loader))
    record.has_optimizer = isinstance(optimizer, torch.optim.Optimizer)
    settings = [plain_settings(group) for group in optimizer.param_groups] if record.has_optimizer else []
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    by_nbgrader = "NBGRADER_EXECUTION" in os.environ
    bar = picture or tqdm(
        total=num_epochs * len(train_loader), unit="step", desc="training",
        leave=False, disable=by_nbgrader,  # nobody watches, and a page would show it at 0 %
    )  # fmt: skip
    if picture:
        picture.start(record)

    def end_epochs() -> None:
        while len(record.each_epoch) < len(record.step_losses) // record.batches:
            with without_hooks(model):
                record.each_epoch.append(each_epoch())

    def called(by: torch.nn.Module, forward: Function, args: Args, kwargs: Kwargs) -> Any:
        """Make a call of the model, or of a copy; nothing of it is compiled."""
        # Only here is it certain that the epoch's last step has been taken.
        if by is model and torch.is_grad_enabled():
            end_epochs()
        under_way.clear()
        output = forward(*args, **kwargs)
        if by is model and output[0].dim() == 0 and output[0].requires_grad:
            loss, size, was_training = output[0].item(), len(output[1]), by.training
            note(others, loss, size)
            learnt: list[bool] = []  # a backward() may follow a torch.autograd.grad

            def learn(gradient: torch.Tensor) -> None:
                if not learnt:
                    learnt.append(True)
                    under_way.append((loss, size, was_training))

            output[1].register_hook(learn)
        return output

    # Passes that a backward call has come to, until it comes to the parameters.
    under_way: list[tuple[float, int, bool]] = []
    stepping_now: list[bool] = []  # a subclass's step() calls that of its class

    def before_step(stepping: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if stepping is optimizer:
            if not stepping_now:
                look()
            stepping_now.append(True)

    def after_step(stepping: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if stepping is optimizer:
            stepping_now.pop()
            if not stepping_now:  # what its own step changes is TODO #1's
                settings[:] = [plain_settings(group) for group in optimizer.param_groups]

    def arrived(parameter: torch.Tensor) -> None:
        """Note what has been learnt from; to look at gradients by torch.autograd.grad is no step."""
        for loss, size, was_training in under_way:
            note(record, loss, size)
            record.in_evaluation += not was_training
            bar.update()
        under_way.clear()

    def look() -> None:
        """Note settings and flags that are no longer as they were."""
        if settings:
            for name, (before, now) in changed_settings(optimizer, settings).items():
                record.settings.setdefault(name, [before, now])[1] = now
        now = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
        changed = [name for name, flag in flags.items() if now.get(name, flag) != flag]
        record.flags_changed += [name for name in changed if name not in record.flags_changed]

    def note(where: RunRecord, loss: float, size: int) -> None:
        where.step_losses.append(loss)
        where.batch_sizes.append(size)

    handles = [register_optimizer_step_pre_hook(before_step), register_optimizer_step_post_hook(after_step)]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handles += [p.register_post_accumulate_grad_hook(arrived) for p in learning[-1:]]
    try:
        stance = torch.compiler.set_stance("force_eager" if by_nbgrader else "default")
        with stance, reported(model, torch.compiler.disable(called)):
            yield record
        if not record.step_losses:  # a loop that learns nothing still has a history
            record.step_losses, record.batch_sizes = others.step_losses, others.batch_sizes
        end_epochs()
    except BaseException as error:
        record.error = describe(error)
        record.optimizer_failed = stopped_in(optimizer, error)
        raise
    finally:
        for handle in handles:
            handle.remove()
        look()
        now = dict(model.named_parameters())
        record.frozen_changed = [n for n, p in frozen.items() if n in now and not torch.equal(now[n], p)]
        bar.close()


@contextmanager
def without_hooks(model: torch.nn.Module) -> Iterator[None]:
    """Take off a model's own hooks for a while: what is measured is no part of the student's run."""
    kept = [(module, module._forward_hooks, module._forward_pre_hooks) for module in model.modules()]
    for module, hooks, _ in kept:
        module._forward_hooks = module._forward_pre_hooks = type(hooks)()
    try:
        yield
    finally:
        for module, hooks, before in kept:
            module._forward_hooks, module._forward_pre_hooks = hooks, before


def stopped_in(optimizer: object, error: BaseException) -> bool:
    """Whether an error was raised in a method of the optimizer's."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_locals.get("self") is optimizer for frame in frames)
