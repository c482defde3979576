"""The lesson's figures, one function each; a figure whose run is missing says so in a sentence."""

from ..names import explain_what_is_missing
from .before import ask, batch, parameters, predict, step_size
from .curves import confidence, steps, summary, training, validation
from .inside import collapse, controls, look_inside, movement, neighbours
from .live import Live
from .slider import cloud
from .stored import cures, dial, seeds

__all__ = [
    "Live",
    "ask",
    "batch",
    "cloud",
    "collapse",
    "confidence",
    "controls",
    "cures",
    "dial",
    "look_inside",
    "movement",
    "neighbours",
    "parameters",
    "predict",
    "seeds",
    "step_size",
    "steps",
    "summary",
    "training",
    "validation",
]

explain_what_is_missing()
