"""Measure what an optimizer did to the weights: were these AdamW's steps, and with which settings?"""

import math
from dataclasses import dataclass

from .. import draws
from ..records import Movement, OptimizerRecord

EPS = 1e-8  # AdamW's default
MOST_EPS = 1e-3  # with more, gradients like these hardly move anything
LEAST_RATE = 5e-4  # with less, decay is lost in a weight's rounding


@dataclass
class Update:
    """What an optimizer's steps did to one parameter, measured from its values."""

    moved: bool
    lr: float | None = None  # None: the steps were not those that AdamW takes
    weight_decay: float | None = None  # None: it leaves no trace, in values of zero or at a small rate
    steady: bool = True  # the later steps were AdamW's with the same settings


def updates(record: OptimizerRecord, seed):
    """Return {parameter name: Update}; empty where no step was measured."""
    settings = {name: group.settings for group in record.groups for name in group.names}
    return {
        name: fit(movement, draws.gradients(seed, name, len(movement.values[0])), settings.get(name, {}))
        for name, movement in record.movements.items()
    }


def fit(movement: Movement, gradients, settings):
    """Fit lr and weight_decay to one parameter's movement.

    AdamW's first step is w - lr * g / (|g| + eps) - lr * weight_decay * w (Loshchilov & Hutter
    2019, https://arxiv.org/abs/1711.05101), so a least-squares fit of the movement on the second
    and the third gives both settings back. With these, the later steps must be AdamW's, too.
    """
    weights, *after = movement.values
    if all(values == weights for values in after):
        return Update(moved=False)
    if not all(math.isfinite(value) for values in after for value in values):
        return Update(moved=True)
    eps = min(settings.get("eps", EPS), MOST_EPS)
    signs = [gradient / (abs(gradient) + eps) for gradient in gradients[0]]
    moved = [before - now for before, now in zip(weights, after[0])]
    cross, squares = dot(signs, weights), dot(weights, weights)
    ones = dot(signs, signs)
    determinant = ones * squares - cross**2
    if determinant > 1e-12:
        lr = (squares * dot(signs, moved) - cross * dot(weights, moved)) / determinant
        decay = (ones * dot(weights, moved) - cross * dot(signs, moved)) / determinant
    else:
        lr, decay = dot(signs, moved) / ones, 0.0
    rest = [m - lr * s - decay * w for m, s, w in zip(moved, signs, weights)]
    if dot(rest, rest) > 1e-4 * dot(moved, moved) or lr <= 0:
        return Update(moved=True)
    steady = all(
        abs(w - lr * s - decay * w - found) <= 0.02 * lr
        for now, then, step in zip(after, after[1:], adamw_steps(gradients, settings)[1:])
        for w, s, found in zip(now, step, then)
    )
    return Update(True, lr, decay / lr if determinant > 1e-12 and lr >= LEAST_RATE else None, steady)


def adamw_steps(gradients, settings):
    """Return what AdamW subtracts in each step, in units of its learning rate and without decay."""
    beta1, beta2 = settings.get("beta1", 0.9), settings.get("beta2", 0.999)
    eps, amsgrad = settings.get("eps", EPS), settings.get("amsgrad")
    means, squares, largest = ([0.0] * len(gradients[0]) for _ in range(3))
    steps = []
    for number, now in enumerate(gradients, start=1):
        means = [beta1 * m + (1 - beta1) * g for m, g in zip(means, now)]
        squares = [beta2 * v + (1 - beta2) * g * g for v, g in zip(squares, now)]
        largest = [max(v, w) for v, w in zip(squares, largest)] if amsgrad else squares
        steps.append(
            [
                m / (1 - beta1**number) / (math.sqrt(v / (1 - beta2**number)) + eps)
                for m, v in zip(means, largest)
            ]
        )
    return steps


def dot(values, others):
    return sum(value * other for value, other in zip(values, others))
