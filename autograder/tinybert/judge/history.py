"""Judge the loss history: what `train_tinybert` returned, and the notebook's own run."""

from typing import cast

from ...rule import Finding, Said, from_to, listing, rule
from ..records import Backward, HistoryRecord, RunRecord, TrainingRecord, Trial
from .iterations import by_epoch, iterations
from .lines import printed, printed_numbers
from .numbers import near
from .training import is_function, is_unseen, judge_training_loop, lacks_default, never_trained, runs

Losses = list[list[float]]  # of the batches, by epoch

HINT = "Hint 6 under TODO #2"
TOLERANCE = 1e-4  # a running mean in float32 over a few batches stays well below


def judge_loss_history(
    record: TrainingRecord,
    history: HistoryRecord | None,
    loop: list[Finding] | None = None,
    points: float = 3,
) -> list[Finding]:
    """Judge what the trials returned and printed, then the notebook's own `losses`.

    history: None while the notebook's run is still to come; loop: the findings of `judge_training_loop`,
    where they are known already.
    """
    if fatal := is_function(record, points) or never_trained(record, points):
        return [fatal]
    stopped = next((t for t in record.trials if t.error and not lacks_default(t)), None)
    if stopped:
        said = f"`train_tinybert` stopped with {stopped.error}, so there is no history to look at."
        return [runs.broken(said, "Mend the training loop first: the check above says more.", points)]
    findings: dict[str, Finding] = {}
    loop = judge_training_loop(record) if loop is None else loop
    # Whoever trains on another loss notes another loss: that is one mistake, and the loop's.
    rules = {finding.rule for finding in loop}
    other_loss = "nothing_else" in rules or bool(rules & {"labels", "loss_from_model"}) and any(
        b.scale != 1 or b.of == "logits" and not b.plain
        for trial in record.trials for b in trial.events if isinstance(b, Backward)
    )  # fmt: skip
    # Nor is the loss known of what goes in as something else than input_ids.
    other_loss = other_loss or any(i.forward.loss is None for t in record.trials for i in iterations(t))
    for trial in record.trials:
        found = lines = None
        if lacks_default(trial):
            found = epochs(trial)
        else:
            found = returned(trial)
            # What was not seen, or of which losses of other reviews are a part, cannot be compared.
            if not found and "arguments" not in rules and not is_unseen(trial):
                found = epochs(trial) or means(trial, record.trials, other_loss)
            # A wrong history makes wrong lines, not the other way round; but it does not make none.
            if found is None or not printed_numbers(trial.printed):
                lines = printed(trial)
        for finding in filter(None, (lines, found)):
            findings.setdefault(finding.rule, finding)
    # What the loop does wrong shows in the losses too, and has a check of its own.
    if history and not findings and not loop and (own := own_run(history.losses, history.run)):
        return [own]
    return list(findings.values())


@rule(2, "a list with one float for every epoch.", HINT)
def returned(trial: Trial) -> Said | None:
    """A list of plain numbers came back."""
    if trial.returned is None and trial.returned_type == "NoneType":
        return (
            "`train_tinybert` returned nothing.",
            "Without `return`, the losses are gone when the function ends.",
            3,
        )
    if trial.returned is None:
        return (
            f"`train_tinybert` returned a {trial.returned_type}, not a list.",
            "The curves further down read one number after another from a list.",
        )
    if odd := sorted({value for value in trial.returned if isinstance(value, str)}):
        return (
            f"The returned list holds {', '.join(odd)} entries.",
            "A loss tensor keeps the whole graph that made it in memory: `.item()` takes the number out."
            if "Tensor" in odd
            else "Each entry should be the epoch's mean loss as a plain number.",
        )


@rule(2, "as many epochs as `num_epochs` asks for, 10 by default, and one loss for each.", HINT)
def epochs(trial: Trial) -> Said | None:
    """One entry an epoch, and as many epochs as were asked for."""
    if lacks_default(trial):
        return (
            f"Called without num_epochs, `train_tinybert` stopped with {trial.error}.",
            f"The first line lacks the default, `num_epochs={trial.num_epochs}`.",
        )
    count, asked = len(trial.returned or []), trial.num_epochs
    found = iterations(trial)
    ran = len(by_epoch(trial, found))
    # Batch by batch the mistake is in the list; with another number of passes, in the loop.
    if count == asked and (ran == asked or ran == 1 != asked):
        return None
    if count == len(found) and count not in (ran, asked):
        return (
            f"The returned list has {count} entries for {asked} epochs: one for every batch.",
            "Collect the batch losses of an epoch, then append their mean once, after the inner loop.",
        )
    if ran == asked and count == 1:
        return (
            f"Only one entry came back after {asked} epochs.",
            "The list is made anew in every epoch, or only its last entry is returned.",
        )
    if ran == asked:
        return (
            f"The returned list has {count} entries for {asked} epochs.",
            "Append once an epoch, to a list made before the first.",
        )
    call = f"no num_epochs, so the default of {asked}," if trial.default_epochs else f"num_epochs={asked}"
    why = "The number of epochs is the argument `num_epochs`, with 10 as its default."
    if ran < asked:
        why += " `range(1, num_epochs)` is one short, a `break` or `return` may be."
    return (
        f"Called with {call} the loop ran {ran} epochs and returned {count} losses.",
        "A `return` inside the loop over epochs ends training after the first." if ran == 1 else why,
    )


@rule(2, "for every epoch, the sum of its batch losses divided by the number of batches.", HINT)
def means(trial: Trial, trials: list[Trial], other_loss: bool) -> Said | None:
    """Every entry is the mean of its epoch's batch losses, by batch or by example.

    trials: all of them: a name is given to what was noted only if it fits each; other_loss: the
    loop trains on a loss that is not the model's; its mean is not known here.
    """
    entries = cast(list[float], trial.returned)  # else `returned` has spoken
    losses, sizes = batch_losses(trial)
    # Epochs that saw fewer batches, or none, are for the training-loop check to report.
    none = [0.0] * (trial.num_epochs - len(losses))
    spread = [sum(epoch) / trial.batches for epoch in losses] + none
    by_batch, by_example = batch_means(losses) + none, example_means(losses, sizes) + none
    # Of a loop that goes through a batch twice, either of the two passes may be noted.
    passes = [batch_means(passed) for passed in once_a_batch(trial)]
    if any(matches(trial.returned, m) for m in (by_batch, by_example, spread, *passes)):
        return None
    fits = (
        text
        for text, values in guesses(trial).items()
        if matches(trial.returned, values)
        and all(matches(other.returned, guesses(other)[text]) for other in trials if other.returned)
    )
    named = next(fits, None)
    # No two trials have the same reviews and weights.
    invented = any(t is not trial and t.returned and t.returned[:2] == entries[:2] for t in trials)
    if other_loss and not named and not invented:
        return None
    k, (entry, mean) = next(
        (k, (entry, mean))
        for k, (entry, mean, other) in enumerate(zip(entries, by_batch, by_example), start=1)
        if not near(entry, mean, TOLERANCE) and not near(entry, other, TOLERANCE)
    )
    observed = f"Entry {k} is {entry:.4f}, where the mean of epoch {k}'s batch losses is {mean:.4f}"
    return (
        f"{observed}: it is {named}" if named else f"{observed}.",
        "Only a mean can be compared between epochs, data sets and batch sizes.",
    )


def batch_losses(trial: Trial) -> tuple[Losses, list[list[int]]]:
    """Return the losses of the batches by epoch, and their sizes."""
    groups = by_epoch(trial, iterations(trial))
    losses = [[i.forward.loss or 0.0 for i in group] for group in groups]
    return losses, [[len(i.forward.examples) for i in group] for group in groups]


def once_a_batch(trial: Trial) -> list[Losses]:
    """Return the losses of the first, and of the last, pass through each batch, by epoch."""
    groups = by_epoch(trial, iterations(trial))
    last = [{frozenset(i.forward.examples): i.forward.loss or 0.0 for i in group} for group in groups]
    first = [{frozenset(i.forward.examples): i.forward.loss or 0.0 for i in group[::-1]} for group in groups]
    return [[list(epoch.values()) for epoch in passed] for passed in (first, last)]


def guesses(trial: Trial) -> dict[str, list[float]]:
    """Return {what may have been noted in place of the means: its values}."""
    losses, sizes = batch_losses(trial)
    weighted = [sum(loss * size for loss, size in zip(*pair)) for pair in zip(losses, sizes)]
    examples = [sum(epoch) for epoch in sizes]
    totals = [sum(epoch) for epoch in losses]
    so_far = [sum(totals[: k + 1]) for k in range(len(totals))]
    counts = [len(epoch) for epoch in losses]
    return {
        "the sum of the batch losses, never divided.": totals,
        "the last batch's loss alone.": [epoch[-1] for epoch in losses],
        "the last batch's loss alone, divided by the number of batches.": [
            epoch[-1] / len(epoch) for epoch in losses
        ],
        "the first batch's loss alone.": [epoch[0] for epoch in losses],
        "a sum over all epochs so far, divided by the batches of one: it is not reset.": [
            total / count for total, count in zip(so_far, counts)
        ],
        "a mean over all epochs so far: the sum is not reset.": [
            total / sum(counts[: k + 1]) for k, total in enumerate(so_far)
        ],
        "a mean over all examples so far: the sum is not reset.": [
            sum(weighted[: k + 1]) / max(1, sum(examples[: k + 1])) for k in range(len(weighted))
        ],
        "the sum of the batch losses divided by the number of examples.": [
            total / trial.examples for total in totals
        ],
        "the sum of the batch losses divided by the number of epochs.": [
            total / trial.num_epochs for total in totals
        ],
    }


@rule(1, "what the loop does in the check of TODO #2, and its `losses`.", "Section 6, Run it and watch")
def own_run(losses: list[float | str] | None, run: RunRecord) -> Said | None:
    """The notebook's own run goes as the loop does on the probes, and `losses` is what it returned."""
    if run.error and (run.optimizer_failed or not run.has_optimizer):
        return None  # that was handed in, by TODO #1
    if observed := only_there(run):
        return (
            f"In the notebook's own run, {observed}.",
            "A loop that depends on what it is given trains one model rightly and another one wrongly.",
        )
    if losses is None or not run.step_losses:
        return (
            "`losses` is empty: the cell that trains the model did not finish.",
            "Run the training cell again, from the top of the notebook if in doubt.",
        )
    cut = range(0, len(run.step_losses), run.batches)
    by_batch = [run.step_losses[k : k + run.batches] for k in cut]
    sizes = [run.batch_sizes[k : k + run.batches] for k in cut]
    if not (matches(losses, batch_means(by_batch)) or matches(losses, example_means(by_batch, sizes))):
        return (
            "`losses` does not hold the mean losses of the run above it.",
            "The training cell was changed or run before TODO #2 was finished: run it again.",
        )


def only_there(run: RunRecord) -> str | None:
    """Return what went wrong in the notebook's own run, as the end of a sentence, or None."""
    if run.error:
        return f"`train_tinybert` stopped with {run.error}"
    if run.settings:
        name, (before, now) = next(iter(run.settings.items()))
        return f"the optimizer's `{name}` was changed {from_to(before, now)}"
    if changed := run.flags_changed or run.frozen_changed:
        how = "unfrozen or frozen" if run.flags_changed else "changed, though they are frozen"
        return f"{len(changed)} parameters were {how}: {listing(changed)}"
    if run.in_evaluation:
        return f"the model was in evaluation mode in {run.in_evaluation} of {len(run.step_losses)} steps"


def batch_means(losses: Losses) -> list[float]:
    return [sum(epoch) / len(epoch) for epoch in losses]


def example_means(losses: Losses, sizes: list[list[int]]) -> list[float]:
    return [
        sum(loss * size for loss, size in zip(epoch, counts)) / max(1, sum(counts))
        for epoch, counts in zip(losses, sizes)
    ]


def matches(values: object, wanted: list[float]) -> bool:
    """Whether two lists of numbers agree; NaN agrees with NaN."""
    return (
        isinstance(values, list)
        and len(values) == len(wanted)
        and all(isinstance(v, (int, float)) and near(v, w, TOLERANCE) for v, w in zip(values, wanted))
    )
