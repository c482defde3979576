"""What in a record does not fit, though no rule says so: for a person to look at, never for points."""

from collections.abc import Set

from ...rule import Finding
from ..records import Forward, HistoryRecord, OptimizerRecord, Step, TrainingRecord, Trial
from .iterations import iterations
from .numbers import NORM_TOLERANCE, changes, direction, near, same_losses, same_weights, steps_apart, unmoved
from .training import STILL

MOST_EPS, MOST_DECAY = 1e-2, 0.1  # beyond these, AdamW hardly heeds a gradient
FURTHER = 4  # times as far as the solution's loop, or as short, that clipping lets weights move
ASIDE = 0.3  # cosine between the ways that two loops' weights have gone; what is made up has about 0
# Rules that say of no loop why it should stand still.
HEEDLESS = {"attention_mask", "batches", "labels", "other_arguments", "train_mode"}


def doubts(record: TrainingRecord, right: TrainingRecord, findings: list[Finding]) -> list[str]:
    """Return a sentence for a doubt about a loop's record, if there is one.

    right: that of the solution's loop on the same probes. findings: of the rules; what breaks one may
    come to any numbers, though not to those of `impossible`.
    """
    rules = {finding.rule for finding in findings}
    if "unseen" in rules:
        return ["The model learnt, and no call of it was seen: read how the loop uses it."]
    found = [*filter(None, (impossible(trial, rules) for trial in record.trials))]
    if not findings and not found:
        found += filter(None, map(unlike, record.trials, right.trials))
    return found[:1]


def impossible(trial: Trial, rules: Set[str]) -> str | None:
    """A sentence about what no loop comes to, right or wrong."""
    if trial.error or not trial.events:
        return None
    for step in (event for event in trial.events if isinstance(event, Step)):
        now = {name: after for name, (_, after) in step.settings.items()}
        rate = now.get("lr") or trial.lr
        if (now.get("eps") or 0) > MOST_EPS or (now.get("weight_decay") or 0) * rate > MOST_DECAY:
            return "The record says that the optimizer had settings under which gradients hardly matter."
    losses = [event.loss for event in trial.events if isinstance(event, Forward)]
    if len(losses) > 2 and len(set(losses)) == 1 and losses[0] is not None:
        return "The record says that all batches had one and the same loss."
    if changes(trial) is None:
        return "The record holds no weights that training could have led to."
    if rules <= HEEDLESS and steps_apart(trial) < STILL:
        return "The weights have hardly moved, and nothing in the record says why."
    return None


def unlike(trial: Trial, right: Trial) -> str | None:
    """A sentence if a trial came to other numbers than the solution's loop, and clipping is no reason.

    Up to the first batch of another order, and to the first gradients that were clipped, all numbers
    are the solution's; from then on they lead elsewhere, though in much the same direction.
    """
    if trial.error or not trial.events:
        return None
    found, wanted = iterations(trial), iterations(right)
    batches, others = ({frozenset(i.forward.examples) for i in all_} for all_ in (found, wanted))
    if batches != others:
        return "The batches that were trained on are not those of the loader."
    for i, other in zip(found, wanted):
        if i.forward.examples != other.forward.examples:
            break
        norm, most = i.steps[0].norm, other.steps[0].norm
        loss, wanted_loss = i.forward.loss, other.forward.loss
        same = loss is not None and wanted_loss is not None and near(loss, wanted_loss, 0.02)
        if not same or norm > (1 + NORM_TOLERANCE) * most:
            return "A step has other numbers than the solution's, on the same batch and after the same steps."
        if i.steps[0].clipped or norm < (1 - NORM_TOLERANCE) * most:
            break
    else:
        if len(found) != len(wanted):
            return None  # of other epochs the history's rules speak
        if not (same_weights(trial, right) and same_losses(trial, right)):
            return "Training came to other weights than the solution's, though nothing was clipped."
    if unmoved(trial, right):
        return "Some parameters have not moved at all, though every step is said to have had their gradients."
    far, more = steps_apart(trial) / steps_apart(right), len(found) / len(wanted)
    if not (1 / FURTHER <= far <= FURTHER * max(1, more) and direction(trial, right) > ASIDE):
        return "Training moved the weights elsewhere than the solution's did."
    return None


def optimizer_doubts(record: OptimizerRecord, right: OptimizerRecord) -> list[str]:
    """Return a sentence if the optimizer was not watched, or not on the model that the set-up made."""
    if record.is_optimizer and not record.movements and not record.error:
        return ["The optimizer's steps could not be watched: it is judged by what it says of itself."]
    names = [name for name in right.movements if name.startswith("bert.")]  # the rest is drawn anew
    start = {n: m.values[0] for n, m in record.movements.items()}
    if record.left_by_setup != right.left_by_setup:
        return ["`model` has other parameters than the one that the set-up made."]
    if start and any(
        len(start.get(n, ())) != len(right.movements[n].values[0])
        or not all(near(a, b, 0.02) for a, b in zip(start[n], right.movements[n].values[0]))
        for n in names
    ):
        return ["The optimizer was watched on other weights than those that the set-up made."]
    return []


def run_doubts(
    history: HistoryRecord, right: HistoryRecord, record: TrainingRecord, optimizer: OptimizerRecord | None
) -> list[str]:
    """Return a sentence if the notebook's own run contradicts the other records."""
    run = history.run
    if run.batches != right.run.batches:
        return ["The notebook's own run went through other batches than the lesson's."]
    if optimizer is not None and run.has_optimizer != optimizer.is_optimizer:
        return ["`optimizer` is an optimizer in only one of its own record and that of the run."]
    if run.flags_changed and not any(trial.flags_changed or trial.error for trial in record.trials):
        return ["Parameters were frozen or unfrozen in the notebook's own run, and in no trial of the loop."]
    return []
