"""Judge the student's optimizer: which parameters it holds, and how it is set."""

from collections import Counter

from ..lesson import LEARNING_RATE, WEIGHT_DECAY
from ..records import OptimizerRecord
from .adamw import updates
from .finding import Finding, listing

HINTS = "Hints under TODO #1"


def not_an_optimizer(record: OptimizerRecord, points):
    """The finding for an `optimizer` that cannot be judged further, or None."""
    if record.is_optimizer:
        return None
    if record.is_class:
        observed = f"`optimizer` is the class {record.kind} itself, not an optimizer made from it."
        why = "A class has no parameters yet: call it, with the parameters first."
    elif record.kind == "NoneType":
        observed = "`optimizer` is still None: TODO #1 is untouched, or its cell stopped with an error."
        why = "Write the line, run the TODO cell, and look for a red message below it."
    else:
        observed = f"`optimizer` is a {record.kind}, which is no optimizer."
        why = "Only a torch.optim optimizer can step() and zero_grad() in the training loop."
    return Finding("is_optimizer", points, observed, "an instance of `torch.optim.AdamW`.", why, HINTS)


def times_held(record):
    """Return {parameter name: how many times the groups list it}."""
    return Counter(name for group in record.groups for name in group.names)


def judge_parameter_groups(record: OptimizerRecord, seed, points=3) -> list[Finding]:
    """Exactly the unfrozen parameters, each once, over all groups."""
    problem = not_an_optimizer(record, points)
    if problem:
        return [problem]
    wanted = set(record.left_by_setup)
    if set(record.trainable) != wanted:
        return [changed_freeze(record, wanted, points)]
    listed = held = times_held(record)
    if record.movements:  # what moves when every parameter has a gradient is what counts
        # At a rate of 0 nothing does: that is the next check's to say.
        idle = {n for group in record.groups if group.settings.get("lr") == 0 for n in group.names}
        moved = {name for name, update in updates(record, seed).items() if update.moved}
        held = Counter({name: held[name] or 1 for name in record.movements if name in moved | idle})
    findings = []
    foreign = sum(group.foreign for group in record.groups)
    if foreign and not held:
        return [
            Finding(
                "own_model", points,
                f"All {foreign} tensors in the optimizer are no parameters of `model`.",
                "the parameters of `model`.",
                "Stepping would train a model that nobody looks at, while `model` stays as it is.",
                "Hint 1 under TODO #1",
            )
        ]  # fmt: skip
    if not held:
        return [
            Finding(
                "missing", points,
                "The optimizer moves no parameter of `model` at all.",
                f"the {len(wanted)} unfrozen ones.",
                "A generator that was looped over before is empty the second time.",
                "Hint 2 under TODO #1",
            )
        ]  # fmt: skip
    if foreign:
        findings.append(
            Finding(
                "own_model", 2,
                f"{foreign} of the optimizer's tensors are no parameters of `model`.",
                "parameters of `model` only.",
                "They take steps that nobody sees.",
                "Hint 1 under TODO #1",
            )
        )  # fmt: skip
    frozen = [name for name in held | listed if name not in wanted]
    missing = [name for name in record.left_by_setup if name not in held]
    if frozen and not (wanted & set(held)):
        return [
            Finding(
                "frozen", points,
                f"The optimizer holds the {len(frozen)} frozen parameters and none of the unfrozen.",
                f"the {len(wanted)} parameters whose `requires_grad` is True.",
                "The condition is the wrong way round: frozen parameters get no gradient, so "
                "nothing would ever learn.",
                "Hint 2 under TODO #1",
            )
        ]  # fmt: skip
    if frozen:
        findings.append(
            Finding(
                "frozen", 2,
                f"{len(frozen)} frozen parameters are in the optimizer, such as {listing(frozen, 2)}.",
                f"only the {len(wanted)} unfrozen ones.",
                "The optimizer should track what may change and nothing else: the day a frozen "
                "weight gets a gradient, or someone unfreezes it, it would move unnoticed.",
                "Hint 2 under TODO #1",
            )
        )  # fmt: skip
    if missing:
        findings.append(
            Finding(
                "missing", 2,
                f"{len(missing)} unfrozen parameters are not in the optimizer: {listing(missing)}.",
                f"all {len(wanted)} of them.",
                "They receive gradients but never move: frozen in effect, without anybody saying so.",
                "Hint 2 under TODO #1",
            )
        )  # fmt: skip
    twice = [name for name, count in held.items() if count > 1]
    if twice:
        findings.append(
            Finding(
                "duplicates", 1,
                f"{len(twice)} parameters are in the optimizer more than once: {listing(twice)}.",
                "each parameter in one group only.",
                "A parameter that is held twice takes two steps where you mean one.",
                "Hint 2 under TODO #1",
            )
        )  # fmt: skip
    return findings


def changed_freeze(record, wanted, points):
    """The finding for a model whose frozen set is not the one the set-up left."""
    thawed = [name for name in record.trainable if name not in wanted]
    frozen = [name for name in record.left_by_setup if name not in record.trainable]
    names, verb = (thawed, "unfrozen") if thawed else (frozen, "frozen")
    return Finding(
        "frozen_set", points,
        f"{len(names)} parameters were {verb} after the set-up: {listing(names)}.",
        "the frozen part as the set-up left it.",
        "Which layers are frozen is part of the experiment: choose parameters, do not change "
        "them. Restart the kernel and run from the top once the line is gone.",
        "Hint 1 under TODO #1",
    )  # fmt: skip


def judge_learning_rate(record: OptimizerRecord, seed, points=2) -> list[Finding]:
    """AdamW, the learning rate in every group, and the weight decay."""
    problem = not_an_optimizer(record, points)
    if problem:
        return [problem]
    findings = []
    kind_matters = not record.decoupled
    if kind_matters:
        findings.append(
            Finding(
                # Of the others none takes a step of this length at this rate.
                "adamw", 1 if record.kind == "Adam" else 2,
                f"The optimizer is {record.kind}.",
                "`torch.optim.AdamW`.",
                "Adam adds the decay to the gradient, where it is rescaled with it; AdamW decays the "
                "weights themselves." if record.kind == "Adam"
                else "It takes other steps than AdamW, and a rate means something else to it.",
                "Hint 1 under TODO #1",
            )
        )  # fmt: skip
    measured = updates(record, seed)
    held = times_held(record)
    rates = wrong_rates(record, measured)
    if rates:
        findings.append(
            Finding(
                "learning_rate", 2,
                f"The learning rate is {', '.join(f'{rate:g}' for rate in rates)}"
                + (f" in {count} of {len(record.groups)} parameter groups."
                   if (count := groups_off(record)) and len(record.groups) > 1 else "."),
                f"{LEARNING_RATE:g} in every parameter group.",
                explain_rate(rates[-1]),
                "Hint 3 under TODO #1",
            )
        )  # fmt: skip
    elif any(group.settings.get("maximize") for group in record.groups):
        findings.append(
            Finding(
                "adamw", 2,
                "The optimizer climbs: it was made with `maximize=True`.",
                "AdamW that goes down, as it does by default.",
                "Each step makes the loss larger.",
                "Hint 1 under TODO #1",
            )
        )  # fmt: skip
    elif record.error and not kind_matters:
        findings.append(
            Finding(
                "adamw", 2,
                f"A step of this optimizer stops with {record.error}.",
                "an optimizer whose `step()` needs nothing but the gradients.",
                "The training loop calls `optimizer.step()`, and nothing would be learnt.",
                "Hint 1 under TODO #1",
            )
        )  # fmt: skip
    elif any(u.moved and (u.lr is None or not u.steady and held[n] < 2) for n, u in measured.items()):
        if not kind_matters:
            findings.append(
                Finding(
                    "adamw", 2,
                    "The steps of this optimizer do not move the weights as AdamW's do.",
                    "the update of `torch.optim.AdamW`.",
                    "Something changes gradients or steps on the way, such as a hook or a step() of its own.",
                    "Hint 1 under TODO #1",
                )
            )  # fmt: skip
    decays = wrong_decays(record, measured)
    if decays and not kind_matters:
        findings.append(
            Finding(
                "weight_decay", 1,
                f"The weight decay is {', '.join(f'{decay:g}' for decay in sorted(set(decays.values())))}"
                + (f" for {listing(decays)}." if len(record.groups) > 1 else "."),
                f"{WEIGHT_DECAY:g} (only biases and LayerNorm weights may be exempt).",
                "Weight decay pulls every weight a little towards zero at each step; how strongly "
                "is a setting of this experiment.",
                "Hint 3 under TODO #1",
            )
        )  # fmt: skip
    return findings


def close(value, target, tolerance):
    return abs(value - target) <= tolerance * abs(target)


def wrong_rates(record, measured):
    """The learning rates, as set and as measured, that are not the lesson's.

    What Adam's relatives take as a first step is another one, and has its own finding.
    """
    held = times_held(record)
    rates = {group.settings.get("lr", 0.0) for group in record.groups if group.names}
    if record.decoupled or record.kind == "Adam":
        taken = {u.lr / max(1, held[n]) for n, u in measured.items() if u.lr is not None}
        rates |= {float(f"{lr:.2g}") for lr in taken if not any(close(lr, rate, 0.02) for rate in rates)}
    return sorted(rate for rate in rates if not close(rate, LEARNING_RATE, 0.01))


def groups_off(record):
    """How many parameter groups are set to another learning rate."""
    return sum(not close(group.settings.get("lr", 0.0), LEARNING_RATE, 0.01) for group in record.groups)


AT_ZERO = "A schedule with a warm-up sets the rate to 0 as soon as it is made."


def explain_rate(rate):
    if rate == 0:
        return AT_ZERO
    if close(rate, 1e-3, 0.01):
        return "1e-3 is what AdamW takes when you pass no lr."
    if close(rate, 2e-5, 0.01):
        return "2e-5 is the usual rate for fine-tuning; this lesson is about leaving it, on purpose."
    factor = rate / LEARNING_RATE
    times = f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small"
    return f"That is {times}: 2.5e-3 is 0.0025."


def may_skip_decay(name):
    """Biases and LayerNorm weights are commonly exempt from decay."""
    return name.endswith(".bias") or "LayerNorm" in name


def wrong_decays(record, measured):
    """Return {parameter: weight decay}, as set or else as measured, where it is not the lesson's."""
    wrong = {}
    for group in record.groups:
        decay = group.settings.get("weight_decay", 0.0)
        if not close(decay, WEIGHT_DECAY, 0.01):
            wrong |= {n: decay for n in group.names if decay or not may_skip_decay(n)}
    if not wrong:
        for name, update in measured.items():
            decay = update.weight_decay
            if decay is not None and not may_skip_decay(name) and not close(decay, WEIGHT_DECAY, 0.3):
                wrong[name] = round(decay, 3)
    return wrong
