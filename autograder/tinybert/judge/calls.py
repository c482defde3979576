"""Rules of the training loop about its calls of the model: what reaches it, and in which mode."""

from ...rule import Said, rule
from ..records import Trial
from .iterations import Iteration, accumulates

HINT_1, HINT_2, HINT_3, HINT_4 = (f"Hint {number} under TODO #2" for number in (1, 2, 3, 4))


@rule(4, "training on the batches of the argument `train_loader` alone.", HINT_1)
def arguments(trial: Trial, found: list[Iteration]) -> Said | None:
    """What the loop uses are its arguments: no other model, optimizer or reviews."""
    strange = sum(max(i.forward.examples, default=0) < 0 for i in found)
    if 0 < strange < len(found) and strange == sum(i.forward.input_ids != "right" for i in found):
        return (
            f"{strange} of {len(found)} training steps used reviews that did not come from `train_loader`.",
            "A model that has learnt from the validation reviews cannot be measured on them.",
        )


@rule(4, "`input_ids` of the batch, unchanged.", HINT_2)
def inputs(trial: Trial, found: list[Iteration]) -> Said | None:
    """input_ids reach the model's forward as the batch holds them."""
    reached = {i.forward.input_ids for i in found}
    if reached != {"right"}:
        return (
            "The model was called without `input_ids`." if "missing" in reached
            else "What reached the model as `input_ids` is not the batch's input ids.",
            "A batch unpacks in this order: input_ids, attention_mask, labels.",
        )  # fmt: skip


@rule(2, "`attention_mask` of the same batch, passed by name.", HINT_2)
def attention_mask(trial: Trial, found: list[Iteration]) -> Said | None:
    """The attention mask of the batch reaches the model's forward."""
    wrong = [i.forward.attention_mask for i in found if i.forward.attention_mask != "right"]
    if wrong:
        observed = {
            "missing": f"No attention mask reached the model in {len(wrong)} of {len(found)} calls.",
            "ones": "The attention mask was all ones, padding included.",
            "other": "The attention mask that reached the model is not the batch's own.",
        }
        return (
            observed[wrong[-1]],
            "Without its mask the model reads [PAD] as if it were words, and a review's score "
            "depends on how long its neighbours in the batch are.",
        )


@rule(2, "`input_ids`, `attention_mask` and `labels` of the batch, and nothing besides.", HINT_2)
def other_arguments(trial: Trial, found: list[Iteration]) -> Said | None:
    """Nothing else reaches the model's forward that changes what it computes."""
    others = [
        name
        for i in found
        for name in i.forward.others
        # Where labels or mask have landed in the wrong place, the rules about these say so.
        if name != i.forward.labels and i.forward.attention_mask == "right"
    ]
    if others:
        name = others[0]
        return (
            f"The model was also given `{name}`, in {others.count(name)} of {len(found)} calls.",
            "They tell a second sentence (1) from a first one (0), and pre-training has given both a "
            "meaning: a review is one text, all zeros." if name == "token_type_ids"
            else "What the model is given besides changes what it reads, and not one error tells you so.",
        )  # fmt: skip


@rule(2, "`labels` of the batch, passed inside `model(...)`.", HINT_3)
def labels(trial: Trial, found: list[Iteration]) -> Said | None:
    """labels go into the model's forward, as the batch holds them."""
    wrong = next((i.forward.labels for i in found if i.forward.labels != "right"), None)
    match wrong:
        case None:
            return None
        case "missing":
            return (
                "No labels reached the model.",
                "The model computes the loss itself when it is given labels; without them its `loss` is "
                "None.",
            )
        case "float":
            return (
                "The labels reached the model as floats.",
                "Class numbers are integers; floats make the model believe that this is regression.",
            )
        case "other":
            return (
                "The labels that reached the model are not the batch's own.",
                "A model learns what it is told, wrong labels too, and the loss falls all the same.",
            )
    return (
        f"The labels landed in the model's argument `{wrong}`.",
        "Arguments by position are easily one place off: `labels` goes by name.",
    )


@rule(2, "backward() on the loss that `model(...)` returned, as it is.", HINT_3)
def loss_from_model(trial: Trial, found: list[Iteration]) -> Said | None:
    """The loss that comes back from the model is what is differentiated."""
    added_up = accumulates(found) or any(b.joined for i in found for b in i.backwards)
    for i in found:
        if any(b.of == "logits" for b in i.backwards) and not any(b.of == "loss" for b in i.backwards):
            return (
                "backward() ran on a loss computed outside the model.",
                "The model has already computed the right loss from the labels; a second one can "
                "differ without a warning, for instance after a softmax too many.",
            )
        scaled = [b.scale for b in i.backwards if b.of == "loss" and not abs(b.scale - 1) <= 1e-3]
        if all(step.own_gradients is not False for step in i.steps) and all(scale > 1 for scale in scaled):
            continue  # a GradScaler's: unscaled before the step
        if scaled and not added_up:
            return f"backward() ran on {scaled[0]:g} times the loss of the batch.", explain_scale(scaled[0])


def explain_scale(scale: float) -> str:
    if scale == 0:
        return "Nothing of the loss is left to follow."
    if scale < 0:
        return "Its gradients point uphill: each step makes the loss larger."
    if scale < 1:
        return "The loss is a mean over the batch already: dividing it again shrinks its gradients."
    return "Its gradients are as many times as large, and clipping or another optimizer would notice."


@rule(1, "`model.train()` before the first batch of every epoch.", HINT_4)
def train_mode(trial: Trial, found: list[Iteration]) -> Said | None:
    """The model is in training mode for every training step."""
    calls = [i.forward for i in found]
    silent = sum(not call.dropout for call in calls)
    modes = [call.training for call in calls]
    off = modes.count(False)
    if not silent:
        return None
    evaluated = f"The model was in evaluation mode in {off} of {len(modes)} training steps."
    if not off:
        return (
            f"Dropout was off or changed in {silent} of {len(modes)} training steps, in training mode.",
            "A layer with p = 0 or in evaluation mode drops nothing, and the model memorizes sooner.",
        )
    if all(call.some_dropout for call in calls if not call.training):
        return (
            f"Only parts of the model were in training mode, in {off} of {len(modes)} training steps.",
            "`train()` of a part switches that part alone; dropout elsewhere stays as it was.",
        )
    if not modes[0]:
        return evaluated, "`from_pretrained` hands a model over in evaluation mode, where dropout is off."
    left = modes.index(False)
    for_good = f"Training mode was left after {left} steps and never came back."
    return (
        evaluated if True in modes[left:] else for_good,
        "After an evaluation with `model.eval()`, training mode has to be switched on again.",
    )
