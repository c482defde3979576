"""Judge the student's optimizer: which parameters it holds, and how it is set."""

from collections import Counter
from collections.abc import Mapping

from ...rule import Finding, Said, listing, rule
from ..lesson import LEARNING_RATE, STANDARD, WEIGHT_DECAY, written
from ..records import OptimizerRecord
from .adamw import Update, updates

HINT_1, HINT_2, HINT_3 = (f"Hint {number} under TODO #1" for number in (1, 2, 3))


@rule(3, "an instance of `torch.optim.AdamW`.", "Hints under TODO #1")
def is_optimizer(record: OptimizerRecord, points: float) -> Said | None:
    """`optimizer` is an optimizer."""
    if record.is_optimizer:
        return None
    if record.is_class:
        observed = f"`optimizer` is the class {record.kind} itself, not an optimizer made from it."
        why = "A class has no parameters yet: call it, with the parameters first."
    elif record.kind == "NoneType":
        observed = "`optimizer` is still None: TODO #1 is untouched, or its cell stopped with an error."
        why = "Write the line and run the TODO cell. If it stops, the message below it says why."
    else:
        observed = f"`optimizer` is a {record.kind}, which is no optimizer."
        why = "Only a torch.optim optimizer can step() and zero_grad() in the training loop."
    return observed, why, points


def judge_parameter_groups(record: OptimizerRecord, seed: int | str, points: float = 3) -> list[Finding]:
    """Exactly the unfrozen parameters, each once, over all groups."""
    if fatal := is_optimizer(record, points) or frozen_set(record, points):
        return [fatal]
    holding = Holding(record, seed)
    findings = []
    for judged in (own_model, frozen, missing, duplicates):
        if finding := judged(holding, points):
            if finding.points >= points:
                return [finding]
            findings.append(finding)
    return findings


class Holding:
    """What an optimizer holds, by parameter name."""

    def __init__(self, record: OptimizerRecord, seed: int | str) -> None:
        self.wanted = record.left_by_setup
        self.foreign = sum(group.foreign for group in record.groups)
        self.listed = self.held = times_held(record)
        if record.movements:  # what moves when every parameter has a gradient is what counts
            # At a rate of 0 nothing does: that is the next check's to say.
            moved = {n for group in record.groups if group.settings.get("lr") == 0 for n in group.names}
            moved |= {name for name, update in updates(record, seed).items() if update.moved}
            self.held = Counter({n: self.listed[n] or 1 for n in record.movements if n in moved})


def times_held(record: OptimizerRecord) -> Counter[str]:
    """Return how many times the groups list each parameter, by name."""
    return Counter(name for group in record.groups for name in group.names)


@rule(3, "the frozen part as the set-up left it.", HINT_1)
def frozen_set(record: OptimizerRecord, points: float) -> Said | None:
    """The set-up's choice of frozen parameters is left alone."""
    trainable, left = set(record.trainable), set(record.left_by_setup)
    thawed = [name for name in record.trainable if name not in left]
    frozen = [name for name in record.left_by_setup if name not in trainable]
    if thawed or frozen:
        names, verb = (thawed, "unfrozen") if thawed else (frozen, "frozen")
        return (
            f"{len(names)} parameters were {verb} after the set-up: {listing(names)}.",
            "Which layers are frozen is part of the experiment: choose parameters, do not change "
            "them. Restart the kernel and run from the top once the line is gone.",
            points,
        )


@rule(2, "parameters of `model`, and nothing else.", HINT_1)
def own_model(holding: Holding, points: float) -> Said | None:
    """What the optimizer holds are parameters of `model`."""
    if holding.foreign and not holding.held:
        return (
            f"All {holding.foreign} tensors in the optimizer are no parameters of `model`.",
            "Stepping would train a model that nobody looks at, while `model` stays as it is.",
            points,
        )
    if holding.foreign:
        return (
            f"{holding.foreign} of the optimizer's tensors are no parameters of `model`.",
            "They take steps that nobody sees.",
        )


@rule(2, "all the parameters that the set-up left unfrozen.", HINT_2)
def missing(holding: Holding, points: float) -> Said | None:
    """The optimizer holds all unfrozen parameters."""
    if not holding.held:
        return (
            "The optimizer moves no parameter of `model` at all.",
            "A generator that was looped over before is empty the second time.",
            points,
        )
    names = [name for name in holding.wanted if name not in holding.held]
    if names:
        return (
            f"{len(names)} unfrozen parameters are not in the optimizer: {listing(names)}.",
            "They receive gradients but never move: frozen in effect, without anybody saying so.",
        )


@rule(2, "only the parameters whose `requires_grad` is True.", HINT_2)
def frozen(holding: Holding, points: float) -> Said | None:
    """The optimizer holds no frozen parameters."""
    names = [name for name in holding.held | holding.listed if name not in holding.wanted]
    if names and holding.held and not set(holding.wanted) & set(holding.held):
        return (
            f"The optimizer holds the {len(names)} frozen parameters and none of the unfrozen.",
            "The condition is the wrong way round: frozen parameters get no gradient, so "
            "nothing would ever learn.",
            points,
        )
    if names:
        return (
            f"{len(names)} frozen parameters are in the optimizer, such as {listing(names, 2)}.",
            "The optimizer should track what may change and nothing else: the day a frozen "
            "weight gets a gradient, or someone unfreezes it, it would move unnoticed.",
        )


@rule(1, "each parameter in one group only.", HINT_2)
def duplicates(holding: Holding, points: float) -> Said | None:
    """Each parameter is held once."""
    if twice := [name for name, count in holding.held.items() if count > 1]:
        return (
            f"{len(twice)} parameters are in the optimizer more than once: {listing(twice)}.",
            "A parameter that is held twice takes two steps where you mean one.",
        )


def judge_learning_rate(record: OptimizerRecord, seed: int | str, points: float = 2) -> list[Finding]:
    """AdamW, the learning rate in every group, and the weight decay."""
    if fatal := is_optimizer(record, points):
        return [fatal]
    measured = updates(record, seed)
    found = [adamw(record, measured), learning_rate(record, measured), weight_decay(record, measured)]
    return [finding for finding in found if finding]


@rule(2, "`torch.optim.AdamW`, with the steps that it takes by default.", HINT_1)
def adamw(record: OptimizerRecord, measured: Mapping[str, Update]) -> Said | None:
    """The optimizer takes AdamW's steps."""
    if any(group.settings.get("maximize") for group in record.groups):
        return "The optimizer climbs: it was made with `maximize=True`.", "Each step makes the loss larger."
    if record.kind == "Adam" and not record.decoupled:
        return (
            "The optimizer is Adam.",
            "Adam adds the decay to the gradient, where it is rescaled with it; AdamW decays the "
            "weights themselves.",
            1,
        )
    if not record.decoupled:
        moved = [update for update in measured.values() if update.moved]
        alike = bool(moved) and all(update.lr is not None and update.steady for update in moved)
        return (
            "The optimizer is an AdamW that is not torch's." if record.kind == "AdamW"
            else f"The optimizer is {record.kind}.",
            "It steps as AdamW does, and the task asks for `torch.optim.AdamW` itself." if alike
            # Of torch's, none takes a step of this length at this rate.
            else "It takes other steps than AdamW, and a rate means something else to it.",
        )  # fmt: skip
    if wrong_rates(record, measured):
        return None  # what follows from another rate is no other mistake
    if record.error:
        return (
            f"A step of this optimizer stops with {record.error}.",
            "The training loop calls `optimizer.step()`, and nothing would be learnt.",
        )
    held = times_held(record)
    if any(u.moved and (u.lr is None or not u.steady and held[n] < 2) for n, u in measured.items()):
        return (
            "The steps of this optimizer do not move the weights as AdamW's do.",
            "Something changes gradients or steps on the way, such as a hook or a step() of its own.",
        )


@rule(2, f"{LEARNING_RATE:g} in every parameter group.", HINT_3)
def learning_rate(record: OptimizerRecord, measured: Mapping[str, Update]) -> Said | None:
    """The learning rate is the lesson's, as set and as the steps show it."""
    if rates := wrong_rates(record, measured):
        off = sum(not close(g.settings.get("lr", 0.0), LEARNING_RATE, 0.01) for g in record.groups)
        several = off and len(record.groups) > 1
        where = f" in {off} of {len(record.groups)} parameter groups" if several else ""
        return f"The learning rate is {', '.join(map('{:g}'.format, rates))}{where}.", explain_rate(rates[-1])


@rule(1, f"{WEIGHT_DECAY:g} (only biases and LayerNorm weights may be exempt).", HINT_3)
def weight_decay(record: OptimizerRecord, measured: Mapping[str, Update]) -> Said | None:
    """The weight decay is the lesson's."""
    decays = wrong_decays(record, measured)
    if decays and record.decoupled:
        where = f" for {listing(decays)}" if len(record.groups) > 1 else ""
        values = ", ".join(map("{:g}".format, sorted(set(decays.values()))))
        return (
            f"The weight decay is {values}{where}.",
            "Weight decay pulls every weight a little towards zero at each step; how strongly "
            "is a setting of this experiment.",
        )


def close(value: float, target: float, tolerance: float) -> bool:
    return abs(value - target) <= tolerance * abs(target)


def wrong_rates(record: OptimizerRecord, measured: Mapping[str, Update]) -> list[float]:
    """The learning rates, as set and as measured, that are not the lesson's.

    What Adam's relatives take as a first step is another one, and has its own finding.
    """
    held = times_held(record)
    rates = {group.settings.get("lr", 0.0) for group in record.groups if group.names}
    if record.decoupled or record.kind == "Adam":
        taken = {u.lr / max(1, held[n]) for n, u in measured.items() if u.lr is not None}
        rates |= {float(f"{lr:.2g}") for lr in taken if not any(close(lr, rate, 0.02) for rate in rates)}
    return sorted(rate for rate in rates if not close(rate, LEARNING_RATE, 0.01))


def explain_rate(rate: float) -> str:
    if rate == 0:
        return "A schedule with a warm-up sets the rate to 0 as soon as it is made."
    if close(rate, 1e-3, 0.01):
        return "1e-3 is what AdamW takes when you pass no lr."
    if close(rate, STANDARD, 0.01):
        usual = f"{written(STANDARD)} is the usual rate for fine-tuning"
        return f"{usual}; this lesson is about leaving it, on purpose."
    factor = rate / LEARNING_RATE
    times = f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small"
    return f"That is {times}: {written(LEARNING_RATE)} is {LEARNING_RATE:g}."


def may_skip_decay(name: str) -> bool:
    """Biases and LayerNorm weights are commonly exempt from decay."""
    return name.endswith(".bias") or "LayerNorm" in name


def wrong_decays(record: OptimizerRecord, measured: Mapping[str, Update]) -> dict[str, float]:
    """Return the weight decay by parameter, as set or else as measured, where it is not the lesson's."""
    wrong: dict[str, float] = {}
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
