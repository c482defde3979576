"""Compare what two runs of the same probe came to: numbers only, no opinions about code."""

from base64 import b64decode

import numpy as np
from safetensors.numpy import load

from ..lesson import LEARNING_RATE
from ..records import Forward, Step, Trial

# A step moves a weight by about the learning rate. Loops that do the same agree to the last bit,
# those in bfloat16 to 0.06 of a step, and the least of mistakes is 0.3 steps off.
TOLERANCE = 0.1  # steps, root mean square over all weights
LOSS_TOLERANCE = 0.02  # for losses around 0.7
NORM_TOLERANCE = 0.1  # relative; bfloat16 needs some of it


def same_weights(trial: Trial, other: Trial):
    """Whether training ended with the same weights; False for weights that cannot be compared."""
    try:
        weights, others = (load(b64decode(t.weights, validate=True)) for t in (trial, other))
        if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in others.items()}:
            return False
        differences = np.concatenate([(weights[n].astype(float) - others[n]).ravel() for n in others])
    except Exception:  # bytes from a student's process: safetensors has errors of its own for them
        return False
    return bool(np.sqrt(np.mean(differences**2)) <= TOLERANCE * LEARNING_RATE)


def same_steps(trial: Trial, other: Trial):
    """Whether every step followed gradients of the same size: AdamW hardly cares, a reader does."""
    norms, others = ([e.norm for e in t.events if isinstance(e, Step)] for t in (trial, other))
    return len(norms) == len(others) and all(
        abs(a - b) <= NORM_TOLERANCE * b for a, b in zip(norms, others)
    )


def same_losses(trial: Trial, other: Trial):
    """Whether every call of the model came to the same loss."""
    losses, others = ([e.loss for e in t.events if isinstance(e, Forward)] for t in (trial, other))
    return len(losses) == len(others) and all(
        a == b or None not in (a, b) and (abs(a - b) <= LOSS_TOLERANCE * max(1, abs(b)))
        for a, b in zip(losses, others)
    )
