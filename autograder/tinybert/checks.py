"""What the notebook's test cells call: collect, then judge.

The two rooms meet here, where a student checks alone. Under grading, `examiner` joins them.
"""

from collections.abc import Callable
from typing import Any

from torch.nn import Module

from ..check import SEED, check, grading
from ..evidence import Evidence
from ..rule import Finding
from ..verdict import Rehearsal, Verdict
from . import judge
from .collect import collect_optimizer, collect_training
from .collect.training import plain
from .lesson import POINTS, TRIED_ON
from .names import explain_what_is_missing
from .records import HistoryRecord, RunRecord

explain_what_is_missing()


@check
def check_parameter_groups(optimizer: Any, model: Module, *, seed: int | str) -> Verdict | Evidence:
    """Check that `optimizer` holds exactly the unfrozen parameters of `model`, each once.

    A copy takes steps on gradients drawn from the seed, and what moves counts.
    """
    record = collect_optimizer(optimizer, model, seed)
    return conclude("Parameter groups", record, lambda: judge.judge_parameter_groups(record, seed))


@check
def check_learning_rate(optimizer: Any, model: Module, *, seed: int | str) -> Verdict | Evidence:
    """Check that `optimizer` is AdamW with lr 2.5e-3 and weight decay 0.01 in every group.

    The settings are also measured, from a copy's steps on gradients drawn from the seed.
    """
    if grading():
        return Evidence(None)  # the optimizer's own stands in the cell of the check above
    record = collect_optimizer(optimizer, model, seed)
    return conclude("Learning rate", record, lambda: judge.judge_learning_rate(record, seed))


@check
def check_training_loop(train_tinybert: Any, *, seed: int | str) -> Verdict | Evidence:
    """Check `train_tinybert` on small models, loaders and optimizers drawn from the seed."""
    record = collect_training(train_tinybert, seed)
    return conclude("Training loop", record, lambda: judge.judge_training_loop(record))


@check
def check_loss_history(
    train_tinybert: Any, losses: Any, run: RunRecord, *, seed: int | str
) -> Verdict | Evidence:
    """Check what `train_tinybert` returns and prints, and the notebook's own `losses`.

    run: of the training cell.
    """
    history = HistoryRecord(plain(losses), run)
    if grading():
        return Evidence(history)  # the loop's own stands in the cell of the check above
    record = collect_training(train_tinybert, seed)
    return conclude("Loss history", record, lambda: judge.judge_loss_history(record, history))


def try_history(train_tinybert: Any) -> Rehearsal:
    """Return the Rehearsal of the loss history: what `train_tinybert` returns on small models."""
    findings = judge.judge_loss_history(collect_training(train_tinybert, SEED), None)
    name = "Loss history"
    return Rehearsal(name, POINTS[name], findings, about=("train_tinybert",))


def conclude(name: str, record: object, judged: Callable[[], list[Finding]]) -> Verdict | Evidence:
    """Return the record as Evidence under grading, else the Verdict of the findings that judged() returns."""
    if grading():
        return Evidence(record)
    return Verdict(name, POINTS[name], judged(), tried_on=TRIED_ON.get(name, ""))
