"""The rules of the training loop.

Each is a function from a Trial to a Finding or None. The rules stand in the order of causes:
where an earlier one explains a trial, the later ones that would only report its consequences
stay silent.
"""

from collections import Counter

from ..records import Step, Trial
from .finding import Finding, listing
from .iterations import by_epoch, iterations


def inputs(trial: Trial):
    """input_ids reach the model's forward as the batch holds them."""
    reached = {i.forward.input_ids for i in iterations(trial)}
    if reached == {"right"}:
        return None
    return Finding(
        "inputs", 4,
        "The model was called without `input_ids`." if "missing" in reached
        else "What reached the model as `input_ids` is not the batch's input ids.",
        "`input_ids` of the batch, unchanged.",
        "A batch unpacks in this order: input_ids, attention_mask, labels.",
        "Hint 2 under TODO #2",
    )  # fmt: skip


def attention_mask(trial: Trial):
    """The attention mask of the batch reaches the model's forward."""
    calls = [i.forward for i in iterations(trial)]
    wrong = [call for call in calls if call.attention_mask != "right"]
    if not wrong:
        return None
    observed = {
        "missing": f"No attention mask reached the model in {len(wrong)} of {len(calls)} calls.",
        "ones": "The attention mask was all ones, padding included.",
        "other": "The attention mask that reached the model is not the batch's own.",
    }[wrong[-1].attention_mask]
    return Finding(
        "attention_mask", 2,
        observed,
        "`attention_mask` of the same batch, passed by name.",
        "Without its mask the model reads [PAD] as if it were words, and a review's score "
        "depends on how long its neighbours in the batch are.",
        "Hint 2 under TODO #2",
    )  # fmt: skip


def loss_from_model(trial: Trial):
    """labels go into the model's forward, and the loss that comes back is differentiated."""
    for i in iterations(trial):
        labels = i.forward.labels
        if labels != "right":
            observed = {
                "missing": "No labels reached the model.",
                "float": "The labels reached the model as floats.",
                "other": "The labels that reached the model are not the batch's own.",
            }.get(labels, f"The labels landed in the model's argument `{labels}`.")
            why = {
                "missing": "The model computes the loss itself when it is given labels; without them "
                "its `loss` is None.",
                "float": "Class numbers are integers; floats make the model believe that this is regression.",
            }.get(labels, "Arguments by position are easily one place off: `labels` goes by name.")
            return Finding(
                "labels", 2, observed, "`labels` of the batch, passed inside `model(...)`.", why,
                "Hint 3 under TODO #2",
            )  # fmt: skip
        if any(b.of == "logits" for b in i.backwards) and not any(b.of == "loss" for b in i.backwards):
            return Finding(
                "loss_from_model", 2,
                "backward() ran on a loss computed outside the model.",
                "backward() on the loss that `model(...)` returned.",
                "The model has already computed the right loss from the labels; a second one can "
                "differ without a warning, for instance after a softmax too many.",
                "Hint 3 under TODO #2",
            )  # fmt: skip
        scaled = [b.scale for b in i.backwards if b.of == "loss" and not abs(b.scale - 1) <= 1e-3]
        if scaled and not accumulates(iterations(trial)):
            return Finding(
                "loss_from_model", 2,
                f"backward() ran on {scaled[0]:g} times the loss of the batch.",
                "backward() on the loss itself.",
                "The loss is a mean over the batch already: dividing it again shrinks its gradients."
                if 0 < scaled[0] < 1 else "Its gradients are as many times as large, and clipping or another "
                "optimizer would notice.",
                "Hint 3 under TODO #2",
            )  # fmt: skip
    return None


def train_mode(trial: Trial):
    """The model is in training mode for every training step."""
    modes = [i.forward.training for i in iterations(trial)]
    silent = sum(not i.forward.dropout for i in iterations(trial))
    if not silent:
        return None
    off = modes.count(False)
    if not off:
        observed = f"Dropout was off or changed in {silent} of {len(modes)} training steps, in training mode."
        why = "A layer with p = 0 or in evaluation mode drops nothing, and the model memorizes sooner."
    elif modes[0] and True in modes[modes.index(False) :]:
        observed = f"The model was in evaluation mode in {off} of {len(modes)} training steps."
        why = "After an evaluation with `model.eval()`, training mode has to be switched on again."
    elif modes[0]:
        observed = f"Training mode was left after {modes.index(False)} steps and never came back."
        why = "After a validation pass with `model.eval()`, training mode has to be switched on again."
    else:
        observed = f"The model was in evaluation mode in {off} of {len(modes)} training steps."
        why = "`from_pretrained` hands a model over in evaluation mode, where dropout is off."
    return Finding(
        "train_mode", 1, observed, "`model.train()` before the first batch of every epoch.", why,
        "Hint 4 under TODO #2",
    )  # fmt: skip


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
    found = iterations(trial)
    taken = [step for i in found for step in i.steps]
    early = sum(i.early_steps for i in found)
    others = sum(not step.passed_optimizer for step in taken)
    if others:
        return Finding(
            "own_optimizer", 2,
            f"Another optimizer than the one passed in took {others} of {len(taken)} steps.",
            "steps of the argument `optimizer` only.",
            "A new optimizer forgets the running averages that AdamW needs, and the settings that "
            "were chosen for it.",
            "Hint 1 under TODO #2",
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
    cleared = sum(step.gradients != "some" for i in found for step in i.steps)
    if cleared:
        return Finding(
            "zero_grad", 2,
            f"The gradients were cleared between backward() and step() in {cleared} of {len(found)} batches.",
            "`optimizer.zero_grad()` before backward() or after step().",
            "step() then finds nothing to follow, and the model never changes.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    return None


def accumulates(found):
    """Whether steps are fewer than batches, and gradients stay from one to the next only in between."""
    stepped = [bool(i.steps) for i in found]
    left = [any(b.left_over for b in i.backwards) for i in found]
    return not all(stepped) and any(left) and left[1:] == [not s for s in stepped[:-1]] and not left[0]


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
        return None
    fewest = min(len(epoch) for epoch in epochs)
    seen = [Counter(e for i in epoch for e in i.forward.examples) for epoch in epochs]
    again = max(sum(count > 1 for count in epoch.values()) for epoch in seen)
    return Finding(
        "batches", 2,
        f"An epoch trained on {fewest} of the loader's {trial.batches} batches."
        if fewest < trial.batches
        else f"In an epoch, {again} of the loader's {trial.examples} examples were used more than once.",
        "every batch of `train_loader` once in every epoch.",
        "Each batch deserves one forward pass an epoch." if fewest >= trial.batches
        else "Look at the indentation: a `break` or `return` inside the loop over batches ends it after "
        "the first." if fewest == 1 else "A `continue`, a `break` or a condition leaves batches out.",
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
    if changed:
        name, (before, now) = next(iter(changed[0].items()))
        return Finding(
            "settings_kept", 2,
            f"The loop changed the optimizer's `{name}` from {before:g} to {now:g}.",
            "the settings, learning rate and weight decay, that were passed in.",
            "This experiment is about one constant rate; a schedule would hide what it does.",
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
            f"The model's weights changed between two steps, {changed} times." if changed
            else "The model's weights changed after the last step.",
            "weights that only `optimizer.step()` changes.",
            "What is set by hand, AdamW's running averages know nothing of.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    taken = [step for i in found for step in i.steps]
    strange = sum(not step.own_gradients for step in taken)
    if strange:
        return Finding(
            "nothing_else", 2,
            f"{strange} of {len(taken)} steps followed other gradients than those of their batch's loss.",
            "the gradients that `backward()` leaves; clipping them is fine.",
            "Something was added to the loss or to the gradients, or taken away.",
            "Hint 5 under TODO #2",
        )  # fmt: skip
    return None


# In the order of causes.
RULES = (inputs, attention_mask, loss_from_model, backward, steps, gradients, batches, train_mode, settings)
# In a loop that stops with an error: what can be its reason, and what is a mistake besides.
STOPPERS = (inputs, attention_mask, loss_from_model, backward)
BESIDES = (gradients, train_mode, settings)
# Once one of these has spoken, only so many rules are left: the others would report its consequences.
CAUSES = {inputs: BESIDES, backward: ()}
