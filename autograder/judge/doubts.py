"""What in a record does not fit, though no rule says so: for a person to look at, never for points."""

from ..records import Step, TrainingRecord, Trial
from .iterations import iterations
from .numbers import NORM_TOLERANCE, near, same_losses, same_weights, steps_apart

MOST_EPS, MOST_DECAY = 1e-2, 0.1  # beyond these, AdamW hardly heeds a gradient
FURTHER = 4  # times as far as the solution's loop, or as short, that clipping lets weights move


def doubts(record: TrainingRecord, right: TrainingRecord, findings) -> list[str]:
    """Return a sentence for each doubt about a loop's record.

    right: that of the solution's loop on the same probes. findings: of the rules; what breaks one may
    come to any numbers.
    """
    if any(finding.rule == "unseen" for finding in findings):
        return ["The model learnt, and no call of it was seen: read how the loop uses it."]
    found = [*filter(None, (beyond_bounds(trial) for trial in record.trials))]
    if not findings:
        found += filter(None, map(unlike, record.trials, right.trials))
    return found[:1]


def beyond_bounds(trial: Trial):
    """A sentence if an optimizer's settings were such that gradients no longer mattered."""
    for step in (event for event in trial.events if isinstance(event, Step)):
        now = {name: after for name, (_, after) in step.settings.items()}
        rate = now.get("lr") or trial.lr
        if (now.get("eps") or 0) > MOST_EPS or (now.get("weight_decay") or 0) * rate > MOST_DECAY:
            return "The record says that the optimizer had settings under which gradients hardly matter."


def unlike(trial: Trial, right: Trial):
    """A sentence if a trial came to other numbers than the solution's loop, and clipping is no reason.

    The first step starts from the same weights; from then on, batches in another order and clipped
    gradients lead elsewhere.
    """
    found, wanted = iterations(trial), iterations(right)
    norms, others = ([step.norm for i in all_ for step in i.steps] for all_ in (found, wanted))
    if len(norms) != len(others):
        return None  # it stopped, or ran for other epochs: for the rules about these
    order, other_order = ([i.forward.examples for i in all_] for all_ in (found, wanted))
    if order[:1] == other_order[:1]:
        first, expected = found[0].forward.loss, wanted[0].forward.loss
        if first is None or not near(first, expected, 0.02) or norms[0] > (1 + NORM_TOLERANCE) * others[0]:
            return "The first step has other numbers than the solution's, on the same batch and model."
    clipped = any(step.clipped for i in found for step in i.steps)
    if order == other_order and not clipped:
        if not (same_weights(trial, right) and same_losses(trial, right)):
            return "Training came to other weights than the solution's, though nothing was clipped."
    elif not steps_apart(right) / FURTHER <= steps_apart(trial) <= steps_apart(right) * FURTHER:
        return "Training moved the weights much less or more than the solution's did."
    return None
