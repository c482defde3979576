"""Reach the verdicts on a submission outside its kernel, from the evidence that it left.

The rules are those of the student's own check, and they alone take points. What is evidence of another
process than training, or comes to other numbers than the solution did without a broken rule, is marked
for a person.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from ..evidence import Malformed, read
from ..rule import Finding
from ..verdict import Verdict
from . import draws
from .judge import (
    judge_learning_rate,
    judge_loss_history,
    judge_parameter_groups,
    judge_training_loop,
)
from .judge.doubts import doubts, optimizer_doubts, run_doubts
from .lesson import CHECKS, POINTS, TRIED_ON
from .records import HistoryRecord, OptimizerRecord, TrainingRecord

SAME = ("num_epochs", "default_epochs", "examples", "batches")  # of a trial, decided by the seed


class Examiner:
    """Judges one submission; to be asked for its test cells in their order.

    solution: {grade id: evidence} that the solution left with the same seed; {} for the solution itself.
    """

    def __init__(self, solution: Mapping[str, str], seed: int) -> None:
        self.solution, self.seed = solution, seed
        # The records, each left by one cell and judged in two.
        self.optimizer: OptimizerRecord | None = None
        self.training: TrainingRecord | None = None
        self.loop: list[Finding] | None = None  # on the training loop
        self.marks: list[str] = []
        self.rules: dict[str, Callable[[str | None], list[Finding]]] = dict(
            zip(CHECKS, (self.parameter_groups, self.learning_rate, self.training_loop, self.loss_history))
        )

    def verdict(self, cell: str, evidence: str | None) -> Verdict:
        """Return the Verdict on a test cell, by its grade id, from its evidence. Raises Malformed."""
        self.marks = []
        findings = self.rules[cell](evidence)
        name = CHECKS[cell]
        return Verdict(name, POINTS[name], findings, self.marks, tried_on=TRIED_ON.get(name, ""))

    def compare(
        self, cell: str, doubts_about: Callable[..., list[str]], record: object, *others: object
    ) -> None:
        """Mark what is doubtful beside the solution's record; what cannot even be compared is, too."""
        if cell not in self.solution:
            return
        try:
            self.marks += doubts_about(record, known(self.solution[cell], cast(Any, type(record))), *others)
        except Exception as error:
            self.marks.append(f"It cannot be compared with the solution: {type(error).__name__}: {error}.")

    def parameter_groups(self, evidence: str | None) -> list[Finding]:
        self.optimizer = record = read(evidence, OptimizerRecord)
        self.compare("test_parameter_groups", optimizer_doubts, record)
        return judge_parameter_groups(record, self.seed)

    def learning_rate(self, evidence: str | None) -> list[Finding]:
        if self.optimizer is None:
            raise Malformed("there is none of the optimizer")
        return judge_learning_rate(self.optimizer, self.seed)

    def training_loop(self, evidence: str | None) -> list[Finding]:
        record = read(evidence, TrainingRecord)
        must_be_planned(record, self.seed)
        self.training, self.loop = record, judge_training_loop(record)
        self.compare("test_training_loop", doubts, record, self.loop)
        return self.loop

    def loss_history(self, evidence: str | None) -> list[Finding]:
        history = read(evidence, HistoryRecord)
        if min([history.run.batches, *history.run.batch_sizes]) < 1:
            raise Malformed("a run without batches")
        if self.training is None:
            raise Malformed("there is none of the training loop either")
        self.compare("test_loss_history", run_doubts, history, self.training, self.optimizer)
        return judge_loss_history(self.training, history, self.loop)


def must_be_planned(record: TrainingRecord, seed: int) -> None:
    """Raise Malformed if the trials are not those that the seed draws, up to one that stopped."""
    described, planned = (
        [[getattr(trial, name) for name in SAME] for trial in trials]
        for trials in (record.trials, draws.trials(seed))
    )
    cut_short = not record.is_callable or any(t.error or t.used_global for t in record.trials[-1:])
    if described != (planned[: len(described)] if cut_short else planned):
        raise Malformed("these are not the trials that were asked for")


@lru_cache(maxsize=8)
def known(text: str, kind: type) -> Any:
    """Return the solution's record, read once for a class."""
    return read(text, kind)
