"""Notebook 08: fine-tuning TinyBERT with a learning rate that is too high.

`lesson` loads what the notebook needs, `collect` runs the student's code and records it, `judge` turns
records into findings, `checks` joins the two for a student, `examiner` for a grader. Nothing that is
imported here makes anybody wait for torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..lessons import Lesson
from .lesson import CHECKS, data_folder

if TYPE_CHECKING:
    from .examiner import Examiner


class TinyBert(Lesson):
    """What grading needs to know of this lesson."""

    checks = CHECKS
    preload = (
        "autograder.tinybert.checks",
        "datasets",
        "matplotlib.pyplot",
        "matplotlib_inline.backend_inline",
        "transformers.models.bert.modeling_bert",
        "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.bert.tokenization_bert",
        "autograder.tinybert.caches",  # last: what the others import would fill them again
    )
    # What a cell that stopped with an error has not defined, and the rule that would say so again.
    defines = {"todo1_optimizer": "is_optimizer", "todo2_train_tinybert": "is_function"}

    judges = ("judge", "examiner.py")

    @property
    def release(self) -> list[Path]:
        return list(Path(__file__).parent.rglob("*.py"))

    @property
    def files(self) -> list[str]:
        return [str(data_folder() / name) for name in ("reviews", "runs", "tinybert")]

    def examiner(self, solution: Mapping[str, str], seed: int) -> "Examiner":
        from .examiner import Examiner

        return Examiner(solution, seed)

    def explain(self, name: str, said: str) -> str | None:
        if name == "NameError" and "training_run" in said:
            return "The cell that trains the model did not finish: there is no run to look at."

    def curve(self, printed: Mapping[str, str]) -> list[float]:
        from .judge.lines import printed_losses

        return printed_losses(printed.get("run", ""))


LESSON = TinyBert()
