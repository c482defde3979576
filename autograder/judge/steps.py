"""Rules of the training loop about its steps: backward, gradients, batches and the optimizer."""

from collections import Counter

from ..lesson import LEARNING_RATE
from ..records import Step, Trial
from .finding import Finding, from_to, listing, shown
from .iterations import accumulates, by_batch, by_epoch, iterations


def backward(trial: Trial):
    """Each batch's loss is differentiated once."""
    found = iterations(trial)
    ran = sum(bool(i.backwards) for i in found)
    if not ran:
        disabled = not all(i.forward.grad_enabled for i in found)
        if trial.error and not disabled:
            return None  # it stopped before backward, for another reason
        if disabled:
            observed = "The model ran without gradients."
            why = "`torch.no_grad()` is for evaluation: nothing is recorded that could be differentiated."
        else:
            observed = "backward() was never called on the loss that the model returned."
            why = "Without it no parameter gets a gradient, and step() has nothing to follow. What "
            why += "`.detach()`, `.data`, `.item()` or `torch.tensor(loss)` give no longer knows the model."
        return Finding(
            "backward", 4, observed, "`backward()` on every batch's loss, with gradients enabled.", why,
            "Hint 5 under TODO #2",
        )  # fmt: skip
    if ran < len(found) and not trial.error:
        return Finding(
            "backward", 2,
            f"backward() ran for {ran} of {len(found)} batches.",
            "`backward()` on every batch's loss.",
            "A batch that is not differentiated teaches nothing: look at the indentation of "
            "backward() and step(), which belong inside the loop over batches.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    most = max(len(i.backwards) for i in found)
    if most > 1:
        return Finding(
            "backward", 2,
            f"backward() ran {most} times for the same batch.",
            "one backward() for each batch.",
            "The second pass adds the same gradients again.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    return None


def steps(trial: Trial):
    """The passed optimizer takes one step a batch, after backward."""
    found = by_batch(iterations(trial))
    taken = [step for i in found for step in i.steps]
    early = sum(i.early_steps for i in found)
    others = sum(not step.passed_optimizer for step in taken)
    forgot = sum(step.forgot for step in taken)
    if others:
        return Finding(
            "own_optimizer", 2,
            f"Another optimizer than the one passed in took {others} of {len(taken)} steps.",
            "steps of the argument `optimizer` only.",
            "A new optimizer forgets the running averages that AdamW needs, and the settings that "
            "were chosen for it.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
    if forgot:
        return Finding(
            "own_optimizer", 2,
            f"What the optimizer remembers of earlier steps was thrown away before {forgot} of {len(taken)} "
            "steps.",
            "its running averages left alone: `zero_grad()` clears the gradients, and nothing else.",
            "AdamW divides its steps by a running average of the gradients; without it each is a first one.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    why = "The order is: clear the gradients, forward, backward, step."
    if not taken and not early:
        observed, points = "optimizer.step() was never called after a backward().", 4
        why = "Gradients alone change nothing: step() is what moves the weights."
    elif early and not taken:
        observed, points = "optimizer.step() ran before backward().", 2
        why += " A step before backward follows the gradients of the batch before, or none."
    elif len(taken) > len(found):
        observed, points = f"optimizer.step() ran {len(taken)} times for {len(found)} batches.", 2
    elif any(len(i.steps) != 1 for i in found):
        observed, points = f"optimizer.step() ran {len(taken)} times for {len(found)} batches.", 2
        why += " All three belong inside the loop over batches."
        if accumulates(found):
            why += " Adding up the gradients of several batches makes one large batch of them."
    else:
        return None
    return Finding(
        "steps", points, observed, "one step for each batch, right after its backward().", why,
        "Hint 5 under TODO #2",
    )  # fmt: skip


def gradients(trial: Trial):
    """Each step sees exactly its own batch's gradients."""
    found = iterations(trial)
    left_over = sum(b.left_over for i in found for b in i.backwards)
    if left_over and not accumulates(found):
        every = left_over >= len(found) - 1
        cleared = next((b.cleared for i in found for b in i.backwards if b.cleared), [])
        return Finding(
            "zero_grad", 2,
            f"In {left_over} of {len(found)} batches, gradients of earlier batches were still there"
            + (f", though not those of {listing(cleared, 1)}." if cleared else "."),
            "gradients cleared with `optimizer.zero_grad()` for every batch.",
            "PyTorch adds new gradients to old ones: every step follows the sum of all batches so far."
            if every
            else "Clearing once an epoch, or for some batches, is too rare: PyTorch adds each batch's "
            "gradients to the last.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    cleared = sum(
        step.gradients != "some" and all(b.scale for b in i.backwards) for i in found for step in i.steps
    )
    if cleared:
        return Finding(
            "zero_grad", 2,
            f"The gradients were cleared between backward() and step() in {cleared} of {len(found)} batches.",
            "`optimizer.zero_grad()` before backward() or after step().",
            "step() then finds nothing to follow, and the model never changes.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    return None


def batches(trial: Trial):
    """Every batch once in every epoch that ran."""
    found = iterations(trial)
    epochs = by_epoch(trial, found)
    complete = list(range(trial.examples))
    if all(sorted(e for i in epoch for e in i.forward.examples) == complete for epoch in epochs):
        empty = trial.num_epochs - len(epochs)
        if empty > 0 and len(trial.returned or []) == trial.num_epochs:
            return Finding(
                "batches", 2,
                f"Only {len(epochs)} of {trial.num_epochs} epochs saw any batches.",
                "every batch once in every epoch.",
                "An iterator is used up after one pass: loop over `train_loader` itself, anew in "
                "each epoch.",
                "Hint 1 under TODO #2",
            )  # fmt: skip
        other = next((len(epoch) for epoch in epochs if len(epoch) != trial.batches), None)
        if other and not accumulates(found):
            return Finding(
                "batches", 2,
                f"An epoch's {trial.examples} examples came in {other} batches, where the loader has "
                f"{trial.batches}.",
                "every batch of `train_loader` as it comes.",
                "The size of a batch decides how noisy its gradients are: it is a setting of the experiment.",
                "Hint 1 under TODO #2",
            )  # fmt: skip
        return None
    fewest = min(len(epoch) for epoch in epochs)
    seen = [Counter(e for i in epoch for e in i.forward.examples) for epoch in epochs]
    again = max(sum(count > 1 for count in epoch.values()) for epoch in seen)
    least = min(len(epoch) for epoch in seen)
    return Finding(
        "batches", 2,
        f"An epoch trained on {fewest} of the loader's {trial.batches} batches."
        if fewest < trial.batches
        else f"In an epoch, {again} of the loader's {trial.examples} examples were used more than once."
        if again else f"An epoch trained on {least} of the loader's {trial.examples} examples.",
        "every batch of `train_loader` once in every epoch, with all its examples.",
        ("Each batch deserves one forward pass an epoch." if again else "Parts of the batches are left out.")
        if fewest >= trial.batches
        else "Look at the indentation: a `break` or `return` inside the loop over batches ends it after "
        "the first." if fewest == 1 and trial.batches > 2
        else "A `continue`, a `break` or a condition leaves batches out.",
        "Hint 1 under TODO #2",
    )  # fmt: skip


def settings(trial: Trial):
    """Frozen parameters and the optimizer's settings are left as they were."""
    if trial.flags_changed or trial.frozen_changed:
        flags, moved = trial.flags_changed, trial.frozen_changed
        return Finding(
            "frozen_kept", 2,
            f"The loop switched `requires_grad` of {len(flags)} parameters: {listing(flags)}." if flags
            else f"The loop changed {len(moved)} frozen parameters: {listing(moved)}.",
            "unfrozen and frozen parameters as they were, the frozen ones to the last bit.",
            "What is trainable is decided before training, not inside the loop.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
    changed = [e.settings for e in trial.events if isinstance(e, Step) and e.passed_optimizer and e.settings]
    changed += [trial.settings] if trial.settings else []
    outside = [trial.outside] if trial.outside else []
    if changed or outside:
        name, (before, now) = next(iter((changed + outside)[0].items()))
        return Finding(
            "settings_kept", 2,
            (
                f"The loop changed `{name}` of the notebook's own optimizer {from_to(before, now)}, though "
                "another one was passed in." if not changed
                # On a probe whose optimizer has other settings than the notebook's.
                else f"The loop sets the optimizer's `{name}` to {shown(now)}, whatever it was."
                if trial.lr != LEARNING_RATE and name in ("lr", "weight_decay")
                else f"The loop changed the optimizer's `{name}` {from_to(before, now)}."
            ),
            "the settings, learning rate and weight decay, that were passed in.",
            "This experiment is about one constant rate; a schedule would hide what it does." if name == "lr"
            else "What TODO #1 has set is part of the experiment, and the loop's caller relies on it.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
    return None


def nothing_else(trial: Trial):
    """Weights change by the optimizer's steps only, and these follow their batch's gradients only."""
    found = iterations(trial)
    changed = sum(not i.forward.weights_kept for i in found)
    if changed or not trial.weights_kept:
        return Finding(
            "nothing_else", 2,
            "The model's weights changed before the first step."
            if changed == 1 and not found[0].forward.weights_kept
            else f"The model's weights changed between two steps, {changed} times." if changed
            else "The model's weights changed after the last step.",
            "weights that only `optimizer.step()` changes.",
            "What is set by hand, AdamW's running averages know nothing of.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    if trial.lost:
        return Finding(
            "nothing_else", 2,
            f"The model has lost {len(trial.lost)} parameters: {listing(trial.lost)}.",
            "the model that was passed in, trained, and whole.",
            "Whoever passed it in wants to use what it has learnt.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    taken = [step for i in found for step in i.steps]
    looked_at = [step for step in taken if step.own_gradients is not None]
    strange = sum(not step.own_gradients for step in looked_at)
    if strange:
        return Finding(
            "nothing_else", 2,
            f"{strange} of {len(looked_at)} steps followed other gradients than those of their batch's loss.",
            "the gradients that `backward()` leaves; clipping them is fine.",
            "Something was added to the loss, to the gradients or inside the model, or taken away.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    return None
