"""What the notebook's test cells call: collect, then judge.

The two rooms meet here, where a student checks alone. Under `nbgrader autograde` a check only
collects: what it shows is evidence, and the verdict is reached outside the student's process, see
`grading.examiner`. A call without a seed is then passed over, because the hidden test below it,
with a seed of its own, decides.
"""

import functools
import os

from . import judge
from .collect import collect_optimizer, collect_training
from .collect.training import plain
from .evidence import Evidence
from .records import HistoryRecord
from .verdict import CheckFailed, Verdict

SEED = 8  # of the students' own checks


def grading():
    """Whether this notebook is being graded."""
    return os.environ.get("NBGRADER_EXECUTION") == "autograde"


def passed_over(check):
    """Have `check` answer None where it is called without a seed and the hidden tests follow."""

    @functools.wraps(check)
    def checked(*arguments, seed=None):
        return None if seed is None and grading() else check(*arguments, seed=seed)

    return checked


@passed_over
def check_parameter_groups(optimizer, model, *, seed=None):
    """Check that `optimizer` holds exactly the unfrozen parameters of `model`, each once.

    A copy takes steps on gradients drawn from the seed, and what moves counts.
    """
    seed = SEED if seed is None else seed
    record = collect_optimizer(optimizer, model, seed)
    return conclude("Parameter groups", record, lambda: judge.judge_parameter_groups(record, seed))


@passed_over
def check_learning_rate(optimizer, model, *, seed=None):
    """Check that `optimizer` is AdamW with lr 2.5e-3 and weight decay 0.01 in every group.

    The settings are also measured, from a copy's steps on gradients drawn from the seed.
    """
    if grading():
        return Evidence(None)  # the optimizer's own stands in the cell of the check above
    seed = SEED if seed is None else seed
    record = collect_optimizer(optimizer, model, seed)
    return conclude("Learning rate", record, lambda: judge.judge_learning_rate(record, seed))


@passed_over
def check_training_loop(train_tinybert, *, seed=None):
    """Check `train_tinybert` on small models, loaders and optimizers drawn from the seed."""
    record = collect_training(train_tinybert, SEED if seed is None else seed)
    return conclude("Training loop", record, lambda: judge.judge_training_loop(record))


@passed_over
def check_loss_history(train_tinybert, losses, run, *, seed=None):
    """Check what `train_tinybert` returns and prints, and the notebook's own `losses`.

    run: the RunRecord of the training cell.
    """
    history = HistoryRecord(plain(losses), run)
    if grading():
        return Evidence(history)  # the loop's own stands in the cell of the check above
    record = collect_training(train_tinybert, SEED if seed is None else seed)
    return conclude("Loss history", record, lambda: judge.judge_loss_history(record, history))


def conclude(check, record, judged):
    """Return the record as Evidence under grading, else the Verdict of the findings that judged() returns.

    Under `nbgrader validate`, which shows only exceptions, raise it.
    """
    if grading():
        return Evidence(record)
    verdict = Verdict(check, judged())
    if verdict.findings and os.environ.get("NBGRADER_EXECUTION") == "validate":
        raise CheckFailed(verdict)
    return verdict
