"""Measure what an optimizer did to the weights: were these AdamW's steps, and with which settings?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def updates(record: OptimizerRecord, seed: int | str) -> dict[str, Update]:
    """Return the Updates by parameter name; empty where no step was measured."""
    settings = {name: group.settings for group in record.groups for name in group.names}
    return {
        name: fit(movement, draws.gradients(seed, name, len(movement.values[0])), settings.get(name, {}))
        for name, movement in record.movements.items()
    }


def fit(movement: Movement, gradients: ArrayLike, settings: Mapping[str, Any]) -> Update:
    """Fit lr and weight_decay to one parameter's movement.

    AdamW's first step is w - lr * g / (|g| + eps) - lr * weight_decay * w (Loshchilov & Hutter
    2019, https://arxiv.org/abs/1711.05101), so a least-squares fit of the movement on the second
    and the third gives both settings back. With these, the later steps must be AdamW's, too.
    """
    values = np.array(movement.values)  # (steps + 1, values looked at)
    weights, moved = values[0], values[0] - values[1]
    if (values == weights).all():
        return Update(moved=False)
    if not np.isfinite(values).all():
        return Update(moved=True)
    units = adamw_steps(gradients, settings)
    terms = np.stack([units[0], weights], axis=1)
    has_decay = np.linalg.det(terms.T @ terms) > 1e-12
    if has_decay:
        lr, decay = np.linalg.lstsq(terms, moved)[0]
    else:
        lr, decay = units[0] @ moved / (units[0] @ units[0]), 0.0
    rest = moved - terms @ (lr, decay)
    if rest @ rest > 1e-4 * moved @ moved or lr <= 0:
        return Update(moved=True)
    off = values[1:-1] * (1 - decay) - lr * units[1:] - values[2:]
    steady = bool((abs(off) <= 0.02 * lr).all())
    return Update(True, float(lr), float(decay / lr) if has_decay and lr >= LEAST_RATE else None, steady)


def adamw_steps(gradients: ArrayLike, settings: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return what AdamW subtracts in each step, in units of its learning rate and without decay.

    gradients: (steps, values).
    """
    beta1, beta2 = settings.get("beta1", 0.9), settings.get("beta2", 0.999)
    eps = min(settings.get("eps", EPS), MOST_EPS)
    gradients = np.asarray(gradients)
    mean = square = largest = np.zeros_like(gradients[0])
    steps = []
    for number, gradient in enumerate(gradients, start=1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        largest = np.maximum(largest, square) if settings.get("amsgrad") else square
        steps.append(mean / (1 - beta1**number) / (np.sqrt(largest / (1 - beta2**number)) + eps))
    return np.array(steps)
