"""Rules of the training loop about its steps: backward, gradients, batches and the optimizer."""

from collections import Counter

from ...rule import Said, from_to, listing, rule, shown
from ..lesson import LEARNING_RATE
from ..records import Step, Trial
from .iterations import Iteration, accumulates, by_batch, by_epoch, cuts

HINT_1, HINT_5 = (f"Hint {number} under TODO #2" for number in (1, 5))


@rule(2, "one `backward()` on the loss of every batch, with gradients enabled.", HINT_5)
def backward(trial: Trial, found: list[Iteration]) -> Said | None:
    """Each batch's loss is differentiated once."""
    ran = sum(bool(i.backwards) for i in found)
    most = max(len(i.backwards) for i in found)
    if not ran and not all(i.forward.grad_enabled for i in found):
        return (
            "The model ran without gradients.",
            "`torch.no_grad()` is for evaluation: nothing is recorded that could be differentiated.",
            4,
        )
    if not ran and not trial.error:  # else it stopped before backward, for another reason
        return (
            "backward() was never called on the loss that the model returned.",
            "Without it no parameter gets a gradient, and step() has nothing to follow. What "
            "`.detach()`, `.data`, `.item()` or `torch.tensor(loss)` give no longer knows the model.",
            4,
        )
    if 0 < ran < len(found) and not trial.error:
        return (
            f"backward() ran for {ran} of {len(found)} batches.",
            "A batch that is not differentiated teaches nothing: look at the indentation of "
            "backward() and step(), which belong inside the loop over batches.",
        )
    if most > 1:
        return (
            f"backward() ran {most} times for the same batch.",
            "The second pass adds the same gradients again.",
        )


@rule(2, "steps of the argument `optimizer` only, and its running averages left alone.", HINT_1)
def own_optimizer(trial: Trial, found: list[Iteration]) -> Said | None:
    """The steps are those of the optimizer that was passed in, which remembers the earlier ones."""
    taken = [step for i in found for step in i.steps]
    if others := sum(not step.passed_optimizer for step in taken):
        return (
            f"Another optimizer than the one passed in took {others} of {len(taken)} steps.",
            "A new optimizer forgets the running averages that AdamW needs, and the settings that "
            "were chosen for it.",
        )
    if forgot := sum(step.forgot for step in taken):
        return (
            f"What the optimizer remembers of earlier steps was thrown away before {forgot} of {len(taken)} "
            "steps.",
            "AdamW divides its steps by a running average of the gradients; without it each is a first one. "
            "`zero_grad()` clears the gradients, and nothing else.",
        )


@rule(2, "one step for each batch, right after its backward().", HINT_5)
def steps(trial: Trial, found: list[Iteration]) -> Said | None:
    """The optimizer takes one step a batch, after backward."""
    found = by_batch(found)
    taken = sum(len(i.steps) for i in found)
    early = sum(i.early_steps for i in found)
    order = "The order is: clear the gradients, forward, backward, step."
    if not taken and not early:
        return (
            "optimizer.step() was never called after a backward().",
            "Gradients alone change nothing: step() is what moves the weights.",
            4,
        )
    if not taken:
        return (
            "optimizer.step() ran before backward().",
            f"{order} A step before backward follows the gradients of the batch before, or none.",
        )
    if any(len(i.steps) != 1 for i in found) and not cuts(trial, found):
        why = order
        if taken <= len(found):
            why += " All three belong inside the loop over batches."
        if accumulates(found):
            why += " Adding up the gradients of several batches makes one large batch of them."
        return f"optimizer.step() ran {taken} times for {len(found)} batches.", why


@rule(2, "`optimizer.zero_grad()` once for every batch, before backward() or after step().", HINT_5)
def zero_grad(trial: Trial, found: list[Iteration]) -> Said | None:
    """Each step sees exactly its own batch's gradients."""
    left_over = sum(b.left_over for i in found for b in i.backwards)
    if left_over and not accumulates(found):
        every = left_over >= len(found) - 1
        cleared = next((b.cleared for i in found for b in i.backwards if b.cleared), [])
        return (
            f"In {left_over} of {len(found)} batches, gradients of earlier batches were still there"
            + (f", though not those of {listing(cleared, 1)}." if cleared else "."),
            "PyTorch adds new gradients to old ones: every step follows the sum of all batches so far."
            if every
            else "Clearing once an epoch, or for some batches, is too rare: PyTorch adds each batch's "
            "gradients to the last.",
        )
    emptied = sum(
        step.gradients != "some" and all(b.scale for b in i.backwards) for i in found for step in i.steps
    )
    if emptied:
        return (
            f"The gradients were cleared between backward() and step() in {emptied} of {len(found)} batches.",
            "step() then finds nothing to follow, and the model never changes.",
        )


@rule(2, "every batch of `train_loader` as it comes, once in every epoch.", HINT_1)
def batches(trial: Trial, found: list[Iteration]) -> Said | None:
    """Every batch once in every epoch that ran."""
    epochs = by_epoch(trial, found)
    seen = [Counter(e for i in epoch for e in i.forward.examples) for epoch in epochs]
    if all(sorted(epoch.elements()) == list(range(trial.examples)) for epoch in seen):
        if len(epochs) < trial.num_epochs == len(trial.returned or []):
            return (
                f"Only {len(epochs)} of {trial.num_epochs} epochs saw any batches.",
                "An iterator is used up after one pass: loop over `train_loader` itself, anew in each epoch.",
            )
        other = next((len(epoch) for epoch in epochs if len(epoch) != trial.batches), None)
        if cuts(trial, found):
            return (
                f"An epoch's {trial.examples} examples went through the model in {len(epochs[0])} calls, "
                f"where the loader has {trial.batches} batches.",
                "A batch goes through the model as it comes, in one call: what parts of it give has to be "
                "weighted by their sizes, and each part draws its own dropout.",
            )
        if other and not accumulates(found):
            return (
                f"An epoch's {trial.examples} examples came in {other} batches, where the loader has "
                f"{trial.batches}.",
                "The size of a batch decides how noisy its gradients are: it is a setting of the experiment.",
            )
        return None
    fewest = min(len(epoch) for epoch in epochs)
    if fewest < trial.batches:
        return (
            f"An epoch trained on {fewest} of the loader's {trial.batches} batches.",
            "Look at the indentation: a `break` or `return` inside the loop over batches ends it after "
            "the first." if fewest == 1 and trial.batches > 2
            else "A `continue`, a `break` or a condition leaves batches out.",
        )  # fmt: skip
    if again := max(sum(count > 1 for count in epoch.values()) for epoch in seen):
        return (
            f"In an epoch, {again} of the loader's {trial.examples} examples were used more than once.",
            "Each batch deserves one forward pass an epoch.",
        )
    return (
        f"An epoch trained on {min(map(len, seen))} of the loader's {trial.examples} examples.",
        "Parts of the batches are left out.",
    )


@rule(2, "unfrozen and frozen parameters as they were, the frozen ones to the last bit.", HINT_1)
def frozen_kept(trial: Trial, found: list[Iteration]) -> Said | None:
    """Frozen parameters stay frozen, and as they were."""
    flags, moved = trial.flags_changed, trial.frozen_changed
    if flags or moved:
        return (
            f"The loop switched `requires_grad` of {len(flags)} parameters: {listing(flags)}." if flags
            else f"The loop changed {len(moved)} frozen parameters: {listing(moved)}.",
            "What is trainable is decided before training, not inside the loop.",
        )  # fmt: skip


@rule(2, "the settings, learning rate and weight decay, that were passed in.", HINT_1)
def settings_kept(trial: Trial, found: list[Iteration]) -> Said | None:
    """The optimizer's settings are left as they were, and those of the notebook's own, too."""
    changed = [e.settings for e in trial.events if isinstance(e, Step) and e.passed_optimizer and e.settings]
    changed += [trial.settings] if trial.settings else []
    outside = [trial.outside] if trial.outside else []
    if not changed and not outside:
        return None
    name, (before, now) = next(iter((changed + outside)[0].items()))
    if not changed:
        observed = f"The loop changed `{name}` of the notebook's own optimizer {from_to(before, now)}, "
        observed += "though another one was passed in."
    elif trial.lr != LEARNING_RATE and name in ("lr", "weight_decay"):
        # On a probe whose optimizer has other settings than the notebook's.
        observed = f"The loop sets the optimizer's `{name}` to {shown(now)}, whatever it was."
    else:
        observed = f"The loop changed the optimizer's `{name}` {from_to(before, now)}."
    return (
        observed,
        "This experiment is about one constant rate; a schedule would hide what it does." if name == "lr"
        else "What TODO #1 has set is part of the experiment, and the loop's caller relies on it.",
    )  # fmt: skip


@rule(
    2, "weights changed by `optimizer.step()` alone, after the batch's own gradients or clipped ones.", HINT_5
)
def nothing_else(trial: Trial, found: list[Iteration]) -> Said | None:
    """Weights change by the optimizer's steps only, and these follow their batch's gradients only."""
    by_hand = "What is set by hand, AdamW's running averages know nothing of."
    if changed := sum(not i.forward.weights_kept for i in found):
        if changed == 1 and not found[0].forward.weights_kept:
            return "The model's weights changed before the first step.", by_hand
        return f"The model's weights changed between two steps, {changed} times.", by_hand
    if not trial.weights_kept:
        return "The model's weights changed after the last step.", by_hand
    if trial.lost:
        return (
            f"The model has lost {len(trial.lost)} parameters: {listing(trial.lost)}.",
            "Whoever passed it in wants to use what it has learnt.",
        )
    looked_at = [step for i in found for step in i.steps if step.own_gradients is not None]
    if strange := sum(not step.own_gradients for step in looked_at):
        return (
            f"{strange} of {len(looked_at)} steps followed other gradients than those of their batch's loss.",
            "Something was added to the loss, to the gradients or inside the model, or taken away.",
        )
