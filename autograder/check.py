"""Make of a function a check, for a notebook's test cells to call.

A student's own check answers with a Verdict. While the notebook is graded it answers with Evidence, and
the verdict is reached outside the student's process: see `lessons.Lesson.examiner`.
"""

import functools
import inspect
import os
from collections.abc import Callable, Collection
from typing import Any

from .evidence import Evidence
from .verdict import CheckFailed, Verdict

SEED = 8  # of the students' own checks


def grading() -> bool:
    """Whether this notebook is being graded."""
    return os.environ.get("NBGRADER_EXECUTION") == "autograde"


def check(function: Callable[..., Verdict | Evidence]) -> Callable[..., Verdict | Evidence | None]:
    """Decorate function(*arguments, seed), which returns Evidence while `grading()`, else a Verdict.

    Its parameters are called as the notebook calls what it hands over.

    The check takes three more arguments. seed: of the hidden test, `seed="secret"`; without it, it is the
    student's own, which is passed over while the notebook is graded. points and without: what it is worth,
    and names of rules that do not count, in a course that has changed that.
    """

    about = tuple(name for name in inspect.signature(function).parameters if name != "seed")

    @functools.wraps(function)
    def checked(
        *arguments: Any,
        seed: int | str | None = None,
        points: float | None = None,
        without: Collection[str] = (),
    ) -> Verdict | Evidence | None:
        if grading():
            return None if seed is None else function(*arguments, seed=seed)
        verdict = function(*arguments, seed=SEED if seed is None else seed)
        assert isinstance(verdict, Verdict), verdict
        verdict = verdict.without(without)
        verdict = verdict if points is None else verdict.out_of(points)
        verdict.about = about
        if verdict.findings and os.environ.get("NBGRADER_EXECUTION") == "validate":
            raise CheckFailed(verdict)  # `nbgrader validate` shows nothing else
        return verdict

    return checked
