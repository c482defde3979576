"""What the notebook's test cells call: collect, then judge.

The two rooms meet only here. `seed` draws the inputs of a check: the cells that students
see use the default, the hidden tests use others.
"""

import os

from . import judge
from .collect import collect_optimizer, collect_training
from .collect.training import plain
from .verdict import CheckFailed, Verdict

POINTS = {
    "Parameter groups": 3,
    "Learning rate": 2,
    "Training loop": 6,
    "Loss history": 3,
}
SEED = 8


def check_parameter_groups(optimizer, model, seed=None):
    """Check that `optimizer` holds exactly the unfrozen parameters of `model`, each once.

    With a `seed`, a copy of both takes a step on random gradients, and what moves counts.
    """
    record = collect_optimizer(optimizer, model, seed)
    return answer("Parameter groups", judge.judge_parameter_groups(record))


def check_learning_rate(optimizer, model, seed=None):
    """Check that `optimizer` is AdamW with lr 2.5e-3 and weight decay 0.01 in every group.

    With a `seed`, the settings are also measured from a step on random gradients.
    """
    record = collect_optimizer(optimizer, model, seed)
    return answer("Learning rate", judge.judge_learning_rate(record))


def check_training_loop(train_tinybert, seed=SEED):
    """Check `train_tinybert` on small models, loaders and optimizers drawn from `seed`."""
    record = collect_training(train_tinybert, seed)
    return answer("Training loop", judge.judge_training_loop(record))


def check_loss_history(train_tinybert, losses, run, seed=SEED):
    """Check what `train_tinybert` returns and prints, and the notebook's own `losses`.

    run: the RunRecord of the training cell.
    """
    record = collect_training(train_tinybert, seed)
    findings = judge.judge_loss_history(record, plain(losses), run)
    return answer("Loss history", findings)


def answer(check, findings):
    """Return the Verdict; under `nbgrader validate`, which shows only exceptions, raise it."""
    verdict = Verdict(check, POINTS[check], findings)
    if findings and os.environ.get("NBGRADER_EXECUTION") == "validate":
        raise CheckFailed(verdict)
    return verdict
