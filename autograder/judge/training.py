"""Judge the student's training loop by what it did to the probes: one message a mistake."""

from ..records import Forward, TrainingRecord, Trial
from .finding import Finding
from .rules import CAUSES, RULES, nothing_else

HINTS = "Hints under TODO #2"


def judge_training_loop(record: TrainingRecord, points=6) -> list[Finding]:
    """Judge all trials; each broken rule is reported once."""
    if not record.is_callable:
        return [not_written(record, points)]
    for trial in record.trials:
        fatal = never_trained(trial, points)
        if fatal:
            return [fatal]
    findings = {}
    for trial in record.trials:
        for rule in RULES:
            finding = rule(trial)
            if finding:
                findings.setdefault(finding.rule, finding)
                if rule in CAUSES:
                    break
    if not findings:
        findings = {f.rule: f for f in filter(None, map(nothing_else, record.trials))}
    error = next((trial.error for trial in record.trials if trial.error), None)
    if error:
        # A loop that stops trains nothing; if a rule says why, that is the message.
        cause = next(iter(findings.values()), None) or raised(error)
        cause.points = points
        return [cause]
    return list(findings.values())


def not_written(record, points):
    if record.kind == "NoneType":
        observed = "`train_tinybert` is not defined: TODO #2 is untouched, or its cell stopped with an error."
    else:
        observed = f"`train_tinybert` is a {record.kind} and cannot be called."
    return Finding(
        "is_function", points, observed,
        "a function `train_tinybert(model, train_loader, optimizer, num_epochs=10)`.",
        "Run the TODO cell after writing it, and look for a red message below it.",
        HINTS,
    )  # fmt: skip


def never_trained(trial: Trial, points):
    """The finding for a trial in which the passed model was never trained, or None."""
    if trial.unfinished:
        return Finding(
            "is_function", points,
            "TODO #2 is untouched: `train_tinybert` still raises NotImplementedError.",
            "your training loop in its place.",
            "Replace the `raise` line; the skeleton above it says what belongs there.",
            HINTS,
        )  # fmt: skip
    if trial.used_global:
        return Finding(
            "arguments", points,
            f"The function reaches for the notebook's variable `{trial.used_global}`.",
            "only its arguments `model`, `train_loader` and `optimizer`.",
            "It works today by luck; called with another model, it would train the wrong one.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
    forwards = [event for event in trial.events if isinstance(event, Forward)]
    if any(forward.passed_model for forward in forwards):
        return None
    if forwards:
        return Finding(
            "arguments", points,
            "The model that was trained is not the one that was passed in.",
            "the argument `model` itself, trained in place.",
            "Whoever passes a model in would get it back as it was: a copy learnt in its place.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
    if trial.error:
        return raised(trial.error, points)
    return Finding(
        "arguments", points,
        "The model was never called.",
        "one call `model(...)` for each batch of `train_loader`.",
        "Without a forward pass there is no loss, and nothing to learn from.",
        "Hint 1 under TODO #2",
    )  # fmt: skip


def raised(error, points=6):
    return Finding(
        "runs", points,
        f"`train_tinybert` stopped with {error}.",
        "a loop that runs to its end on any model, loader and optimizer of this kind.",
        "Read the message from its last line; then try the function on one batch.",
        HINTS,
    )  # fmt: skip
