"""Rules of the training loop about its calls of the model: what reaches it, and in which mode."""

from ..records import Trial
from .finding import Finding
from .iterations import accumulates, iterations


def inputs(trial: Trial):
    """input_ids reach the model's forward as the batch holds them."""
    found = iterations(trial)
    reached = {i.forward.input_ids for i in found}
    if reached == {"right"}:
        return None
    strange = sum(max(i.forward.examples, default=0) < 0 for i in found)
    if strange < len(found) and strange == sum(i.forward.input_ids != "right" for i in found):
        return Finding(
            "arguments", 4,
            f"{strange} of {len(found)} training steps used reviews that did not come from `train_loader`.",
            "training on the batches of the argument `train_loader` alone.",
            "A model that has learnt from the validation reviews cannot be measured on them.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
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


def other_arguments(trial: Trial):
    """Nothing else reaches the model's forward that changes what it computes."""
    calls = [i.forward for i in iterations(trial)]
    others = [
        name
        for call in calls
        for name in call.others
        # Where labels or mask have landed in the wrong place, the rules about these say so.
        if name != call.labels and call.attention_mask == "right"
    ]
    if not others:
        return None
    name = others[0]
    return Finding(
        "other_arguments", 2,
        f"The model was also given `{name}`, in {others.count(name)} of {len(calls)} calls.",
        "`input_ids`, `attention_mask` and `labels` of the batch, and nothing that changes their meaning.",
        {
            "token_type_ids": "They tell a second sentence (1) from a first one (0), and pre-training has "
            "given both a meaning: a review is one text, all zeros.",
        }.get(name, "What the model is given besides changes what it reads, and not one error tells you so."),
        "Hint 2 under TODO #2",
    )  # fmt: skip


def loss_from_model(trial: Trial):
    """labels go into the model's forward, and the loss that comes back is differentiated."""
    found = iterations(trial)
    added_up = accumulates(found) or any(b.joined for i in found for b in i.backwards)
    for i in found:
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
                "other": "A model learns what it is told, wrong labels too, and the loss falls all the same.",
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
        if all(step.own_gradients is not False for step in i.steps) and all(scale > 1 for scale in scaled):
            continue  # a GradScaler's: unscaled before the step
        if scaled and not added_up:
            return Finding(
                "loss_from_model", 2,
                f"backward() ran on {scaled[0]:g} times the loss of the batch.",
                "backward() on the loss itself.",
                "The loss is a mean over the batch already: dividing it again shrinks its gradients."
                if 0 < scaled[0] < 1 else "Its gradients point uphill: each step makes the loss larger."
                if scaled[0] < 0 else "Nothing of the loss is left to follow."
                if scaled[0] == 0 else "Its gradients are as many times as large, and clipping or another "
                "optimizer would notice.",
                "Hint 3 under TODO #2",
            )  # fmt: skip
    return None


def train_mode(trial: Trial):
    """The model is in training mode for every training step."""
    calls = [i.forward for i in iterations(trial)]
    modes = [call.training for call in calls]
    silent = sum(not call.dropout for call in calls)
    if not silent:
        return None
    off = modes.count(False)
    if off and all(call.some_dropout for call in calls if not call.training):
        observed = f"Only parts of the model were in training mode, in {off} of {len(modes)} training steps."
        why = "`train()` of a part switches that part alone; dropout elsewhere stays as it was."
    elif not off:
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
