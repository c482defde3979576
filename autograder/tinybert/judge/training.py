"""Judge the student's training loop by what it did to the probes: one message a mistake."""

from collections.abc import Iterable
from typing import cast

from ...rule import Finding, Rule, Said, rule
from ..records import Forward, Step, TrainingRecord, Trial
from .calls import arguments
from .iterations import iterations
from .numbers import steps_apart
from .rules import BESIDES, RULES, STOPPERS, broken
from .steps import nothing_else

HINTS = "Hints under TODO #2"
STILL = 0.15  # steps
MOVING = ("backward", "steps", "zero_grad", "settings_kept")  # rules that say why nothing moves


def judge_training_loop(record: TrainingRecord, points: float = 6) -> list[Finding]:
    """Judge all trials; each broken rule is reported once."""
    if fatal := is_function(record, points) or never_trained(record, points) or unseen(record):
        return [fatal]
    trials = [trial for trial in record.trials if not lacks_default(trial)]
    stopped = next((trial for trial in trials if trial.error), None)
    if stopped:
        # A loop that stops trains nothing; if a rule says why, that is the message.
        found = iterations(stopped)
        cause = next(iter(broken(STOPPERS, stopped, found).values()), None)
        if cause:
            cause.observed += f" {stop(stopped)}"
        else:
            cause = cast(Finding, runs(stopped))
        cause.points = points
        return [cause, *broken(BESIDES, stopped, found).values()]
    findings = in_any(RULES, trials) or in_any([nothing_else], trials)
    # Whatever the reason, a loop that moves nothing is no better than one that never steps.
    if findings and any(steps_apart(trial) < STILL for trial in trials):
        moving = [findings[rule] for rule in MOVING if rule in findings] or list(findings.values())
        moving[0].points = max(moving[0].points, 4)
    return list(findings.values())


def in_any(rules: Iterable[Rule], trials: list[Trial]) -> dict[str, Finding]:
    """Return the Findings, by name, of the rules that trials break, each as the first trial shows it."""
    findings: dict[str, Finding] = {}
    for trial in trials:
        for name, finding in broken(rules, trial, iterations(trial)).items():
            findings.setdefault(name, finding)
    return findings


def lacks_default(trial: Trial) -> bool:
    """Whether the trial without num_epochs failed at once, for lack of a default: the history's matter."""
    return trial.default_epochs and not trial.events and trial.error is not None


def is_unseen(trial: Trial) -> bool:
    """Whether the passed model was trained, though no call of it was seen."""
    steps = [event for event in trial.events if isinstance(event, Step)]
    called = any(isinstance(event, Forward) for event in trial.events)
    return not called and any(step.gradients == "some" for step in steps)


@rule(6, "your loop as `train_tinybert(model, train_loader, optimizer, num_epochs=10)`.", HINTS)
def is_function(record: TrainingRecord, points: float) -> Said | None:
    """`train_tinybert` is a function, and written."""
    if any(trial.unfinished for trial in record.trials):
        return (
            "TODO #2 is untouched: `train_tinybert` still raises NotImplementedError.",
            "Replace the `raise` line; the skeleton above it says what belongs there.",
            points,
        )
    if not record.is_callable:
        return (
            "`train_tinybert` is not defined: TODO #2 is untouched, its cell stopped with an error, or a "
            "line that begins with `%%` keeps the cell from running." if record.kind == "NoneType"
            else f"`train_tinybert` is a {record.kind} and cannot be called.",
            "Run the TODO cell after writing it. If it stops, the message below it says why.",
            points,
        )  # fmt: skip


def never_trained(record: TrainingRecord, points: float) -> Finding | None:
    """Return the Finding for a model that was passed in and never trained, or None."""
    for trial in record.trials:
        said = outside(trial)
        if said:
            return arguments.broken(*said, points)
        if trial.error and not trial.events and not lacks_default(trial):
            return runs(trial, points)
    return None


def outside(trial: Trial) -> tuple[str, str] | None:
    """Return what a trial used in place of the loop's arguments, and why that matters; or None."""
    forwards = [event for event in trial.events if isinstance(event, Forward)]
    if trial.used_global:
        return (
            f"The function reaches for the notebook's variable `{trial.used_global}`.",
            "It works today by luck; called with another model, it would train the wrong one.",
        )
    if any(forward.passed_model for forward in forwards):
        if any(f.loader_pass or 0 <= min(f.examples, default=-1) for f in forwards):
            return None
        return (
            "Not one batch came from the `train_loader` that was passed in.",
            "Other reviews than those meant for training were used: a model that has trained on the "
            "validation reviews cannot be measured on them.",
        )
    if is_unseen(trial):
        return None
    if trial.events:
        return (
            "The model that was trained is not the one that was passed in.",
            "Whoever passes a model in would get it back as it was: a copy learnt in its place.",
        )
    if trial.error:
        return None
    return "The model was never called.", "Without a forward pass there is no loss to learn from."


@rule(2, "one call `model(input_ids=..., attention_mask=..., labels=...)` a batch.", "Hint 3 under TODO #2")
def unseen(record: TrainingRecord) -> Said | None:
    """The model is called in a way that can be seen."""
    if any(map(is_unseen, record.trials)):
        return (
            "The model learnt, though `model(...)` was never called: its parts were used in a way that this "
            "check cannot see.",
            "The model computes the loss itself when it is called as a whole.",
        )


@rule(
    6, "a loop that runs to its end as `train_tinybert(model, train_loader, optimizer, num_epochs=3)`.", HINTS
)
def runs(trial: Trial, points: float = 6) -> Said | None:
    """The loop runs to its end."""
    if trial.error:
        return stop(trial), explain_error(trial.error), points


def stop(trial: Trial) -> str:
    """Return a sentence that says with what a loop stopped, and where."""
    where = f", on line {trial.line}" if trial.line else ""
    return f"`train_tinybert` stopped with {trial.error}{where}."


def explain_error(error: str) -> str:
    if "does not require grad" in error:
        why = "backward() needs the loss as the model returned it: `.detach()`, `.data`, `.item()` and "
        return why + "`argmax` cut it off from the model."
    if "values to unpack (expected" in error:
        return "A batch is three tensors: `input_ids`, `attention_mask`, `labels`, in this order."
    if "'str' object has no attribute" in error:
        why = "Unpacked like a tuple, the model's output gives the names of its fields: take its "
        return why + "`.loss`."
    if "modified by an inplace operation" in error:
        why = "step() has changed the weights between the forward pass and backward(). The order is: clear "
        return why + "the gradients, forward, backward, step."
    return "Read the message from its last line; then try the function on one batch."
