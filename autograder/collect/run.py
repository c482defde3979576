"""Watch the notebook's own training run."""

import os
from contextlib import contextmanager

import torch
from tqdm.auto import tqdm

from ..records import RunRecord
from .calls import reported
from .optimizer import changed_settings, plain_settings
from .training import describe


@contextmanager
def watch(model, train_loader, optimizer, num_epochs, each_epoch=lambda: None):
    """Show a progress bar over the training steps of `model` and record each step's loss.

    Yields the RunRecord that fills up meanwhile; `each_epoch` is called after every epoch
    and its results are kept there. A forward call that gradients flow back to is a step, so
    validation passes inside the loop are left out.
    """
    record, others = RunRecord(batches=len(train_loader)), RunRecord(batches=len(train_loader))
    record.has_optimizer = isinstance(optimizer, torch.optim.Optimizer)
    settings = [plain_settings(group) for group in optimizer.param_groups] if record.has_optimizer else []
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    by_nbgrader = "NBGRADER_EXECUTION" in os.environ
    bar = tqdm(
        total=num_epochs * len(train_loader), unit="step", desc="training",
        disable=by_nbgrader,  # nobody watches, and a page would show it at 0 %
    )  # fmt: skip

    def end_epochs():
        while len(record.each_epoch) < len(record.step_losses) // record.batches:
            record.each_epoch.append(each_epoch())

    def called(by, forward, args, kwargs):
        """Make a call of the model, or of a copy; nothing of it is compiled."""
        # Only here is it certain that the epoch's last step has been taken.
        if by is model and torch.is_grad_enabled():
            end_epochs()
        output = forward(*args, **kwargs)
        if by is model and output[0].dim() == 0 and output[0].requires_grad:
            loss, size, was_training = output[0].item(), len(output[1]), by.training
            note(others, loss, size)
            learnt = []  # a backward() may follow a torch.autograd.grad

            def learn(gradient):
                if not learnt:
                    learnt.append(True)
                    note(record, loss, size)
                    record.in_evaluation += not was_training
                    look()
                    bar.update()

            output[1].register_hook(learn)
        return output

    def look():
        """Note settings and flags that are no longer as they were."""
        if settings:
            record.settings |= changed_settings(optimizer, settings)
        now = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
        changed = [name for name, flag in flags.items() if now.get(name, flag) != flag]
        record.flags_changed += [name for name in changed if name not in record.flags_changed]

    def note(where, loss, size):
        where.step_losses.append(loss)
        where.batch_sizes.append(size)

    try:
        stance = torch.compiler.set_stance("force_eager" if by_nbgrader else "default")
        with stance, reported(model, torch.compiler.disable(called)):
            yield record
        if not record.step_losses:  # a loop that learns nothing still has a history
            record.step_losses, record.batch_sizes = others.step_losses, others.batch_sizes
        end_epochs()
    except BaseException as error:
        record.error = describe(error)
        raise
    finally:
        look()
        now = dict(model.named_parameters())
        record.frozen_changed = [n for n, p in frozen.items() if n in now and not torch.equal(now[n], p)]
        bar.close()
