"""Judge what was recorded: pure functions from records to findings."""

from ...rule import Finding
from .history import judge_loss_history
from .optimizer import judge_learning_rate, judge_parameter_groups
from .training import judge_training_loop

__all__ = [
    "Finding",
    "judge_learning_rate",
    "judge_loss_history",
    "judge_parameter_groups",
    "judge_training_loop",
]
