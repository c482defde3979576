"""Run the student's code on small probes and write down what it did, as plain data."""

from .optimizer import collect_optimizer
from .run import watch
from .training import collect_training

__all__ = ["collect_optimizer", "collect_training", "watch"]
