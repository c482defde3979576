"""Judge the student's training loop by what it did to the probes: one message a mistake."""

from ..records import Forward, Step, TrainingRecord, Trial
from .finding import Finding
from .numbers import steps_apart
from .rules import BESIDES, CAUSES, RULES, STOPPERS
from .steps import nothing_else

HINTS = "Hints under TODO #2"
STILL = 0.15  # steps
MOVING = ("backward", "steps", "zero_grad", "settings_kept")  # rules that say why nothing moves


def judge_training_loop(record: TrainingRecord, points=6) -> list[Finding]:
    """Judge all trials; each broken rule is reported once."""
    if not record.is_callable:
        return [not_written(record, points)]
    for trial in record.trials:
        fatal = never_trained(trial, points)
        if fatal:
            return [fatal]
        if is_unseen(trial):
            return [unseen()]
    trials = [trial for trial in record.trials if not lacks_default(trial)]
    stopped = next((trial for trial in trials if trial.error), None)
    if stopped:
        # A loop that stops trains nothing; if a rule says why, that is the message.
        cause = next((finding for rule in STOPPERS if (finding := rule(stopped))), None)
        if cause:
            cause.observed += f" `train_tinybert` stopped with {stopped.error}."
        else:
            cause = raised(stopped.error)
        cause.points = points
        return [cause] + [finding for rule in BESIDES if (finding := rule(stopped))]
    findings = {}
    for trial in trials:
        rules = RULES
        while rules:
            rule, *rules = rules
            finding = rule(trial)
            if finding:
                findings.setdefault(finding.rule, finding)
                rules = CAUSES.get(rule, rules)
    if not findings:
        for finding in filter(None, map(nothing_else, trials)):
            findings.setdefault(finding.rule, finding)
    # Whatever the reason, a loop that moves nothing is no better than one that never steps.
    if findings and any(steps_apart(trial) < STILL for trial in trials):
        moving = [findings[rule] for rule in MOVING if rule in findings] or list(findings.values())
        moving[0].points = max(moving[0].points, 4)
    return list(findings.values())


def lacks_default(trial: Trial):
    """Whether the trial without num_epochs failed at once, for lack of a default: the history's matter."""
    return trial.default_epochs and not trial.events and trial.error is not None


def not_written(record, points):
    if record.kind == "NoneType":
        observed = (
            "`train_tinybert` is not defined: TODO #2 is untouched, its cell stopped with an error, or a "
            "line that begins with `%%` keeps the cell from running."
        )
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
        if any(f.loader_pass or 0 <= min(f.examples, default=-1) for f in forwards):
            return None
        return Finding(
            "arguments", points,
            "Not one batch came from the `train_loader` that was passed in.",
            "a loop over the argument `train_loader`.",
            "Other reviews than those meant for training were used: a model that has trained on the "
            "validation reviews cannot be measured on them.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
    steps = [event for event in trial.events if isinstance(event, Step)]
    if forwards or steps and not is_unseen(trial):
        return Finding(
            "arguments", points,
            "The model that was trained is not the one that was passed in.",
            "the argument `model` itself, trained in place.",
            "Whoever passes a model in would get it back as it was: a copy learnt in its place.",
            "Hint 1 under TODO #2",
        )  # fmt: skip
    if lacks_default(trial) or is_unseen(trial):
        return None
    if trial.error:
        return raised(trial.error, points)
    return Finding(
        "arguments", points,
        "The model was never called.",
        "one call `model(...)` for each batch of `train_loader`.",
        "Without a forward pass there is no loss, and nothing to learn from.",
        "Hint 1 under TODO #2",
    )  # fmt: skip


def is_unseen(trial: Trial):
    """Whether the passed model was trained, though no call of it was seen."""
    steps = [event for event in trial.events if isinstance(event, Step)]
    called = any(isinstance(event, Forward) for event in trial.events)
    return not called and any(step.gradients == "some" for step in steps)


def unseen():
    return Finding(
        "unseen", 2,
        "The model learnt, though `model(...)` was never called: its parts were used in a way that this "
        "check cannot see.",
        "one call `model(input_ids=..., attention_mask=..., labels=...)` for each batch.",
        "The model computes the loss itself when it is called as a whole.",
        "Hint 3 under TODO #2",
    )  # fmt: skip


def raised(error, points=6):
    return Finding(
        "runs", points,
        f"`train_tinybert` stopped with {error}.",
        "a loop that runs to its end, called as `train_tinybert(model, train_loader, optimizer, "
        "num_epochs=3)` with any model, loader and optimizer of this kind.",
        "backward() needs the loss as the model returned it: `.detach()`, `.data`, `.item()` and `argmax` "
        "cut it off from the model." if "does not require grad" in error
        else "Unpacked like a tuple, the model's output gives the names of its fields: take its `.loss`."
        if "'str' object has no attribute" in error
        else "step() has changed the weights between the forward pass and backward(). The order is: clear "
        "the gradients, forward, backward, step." if "modified by an inplace operation" in error
        else "Read the message from its last line; then try the function on one batch.",
        HINTS,
    )  # fmt: skip
