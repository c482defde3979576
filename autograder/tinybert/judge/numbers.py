"""Compare what two runs of the same probe came to: numbers only, no opinions about code."""

import math
from base64 import b64decode
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from ..lesson import LEARNING_RATE
from ..records import Trial
from .iterations import iterations

Changes = dict[str, NDArray[np.float64]]  # by name of the parameter

# A step moves a weight by about the learning rate. Loops that do the same agree to the last bit; those
# in bfloat16 to 0.05 of a step where an encoder layer learns, too, and to 0.2 where only what is above
# it does. Other loops are more than a step off.
TOLERANCE = {True: 0.25, False: 0.6}  # steps, root mean square over all weights
ENCODER = 1000  # weights or more
LOSS_TOLERANCE = 0.02  # for losses around 0.7
NORM_TOLERANCE = 0.1  # relative; bfloat16 needs some of it


def same_weights(trial: Trial, other: Trial) -> bool:
    """Whether training ended with the same weights; False for weights that cannot be compared."""
    found, wanted = changes(trial) or {}, changes(other) or {}
    if not found or {n: c.shape for n, c in found.items()} != {n: c.shape for n, c in wanted.items()}:
        return False
    differences = np.concatenate([found[n] - wanted[n] for n in wanted])
    tolerance = TOLERANCE[len(differences) >= ENCODER] * LEARNING_RATE
    return bool(np.sqrt(np.mean(differences**2)) <= tolerance)


def changes(trial: Trial) -> Changes | None:
    """Return how training changed each parameter; None for what is no change of weights."""
    return unpacked(trial.changes)


@lru_cache(maxsize=16)  # the trials of one submission, and of the solution
def unpacked(text: str) -> Changes | None:
    try:
        found = load(b64decode(text, validate=True))
        return {name: found[name].astype(float).ravel() for name in sorted(found)} or None
    except Exception:  # bytes from a student's process: safetensors has errors of its own for them
        return None


def steps_apart(trial: Trial) -> float:
    """Return how far training moved the weights, in steps, root mean square; NaN for what is no change."""
    found = changes(trial)
    if found is None:
        return math.nan
    return float(np.sqrt(np.mean(np.concatenate([*found.values()]) ** 2))) / LEARNING_RATE


def direction(trial: Trial, other: Trial) -> float:
    """Return the cosine between the ways that two trials' weights have gone."""
    found, wanted = (np.concatenate([*(changes(t) or {}).values()]) for t in (trial, other))
    return float(found @ wanted / (np.linalg.norm(found) * np.linalg.norm(wanted)))


def unmoved(trial: Trial, other: Trial) -> list[str]:
    """Return the names of parameters that moved in the other trial, and not by a bit in this one."""
    found, wanted = changes(trial) or {}, changes(other) or {}
    return [name for name, change in wanted.items() if change.any() and not found[name].any()]


def same_losses(trial: Trial, other: Trial) -> bool:
    """Whether every training step came to the same loss."""
    losses, others = ([i.forward.loss for i in iterations(t)] for t in (trial, other))
    return len(losses) == len(others) and all(
        a == b or a is not None and b is not None and near(a, b, LOSS_TOLERANCE)
        for a, b in zip(losses, others)
    )


def near(value: float, wanted: float, tolerance: float) -> bool:
    if math.isnan(value) or math.isnan(wanted):
        return math.isnan(value) and math.isnan(wanted)
    return value == wanted or abs(value - wanted) <= tolerance * max(1.0, abs(wanted))
