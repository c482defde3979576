"""What grading asks of a lesson that judges test cells by itself, and how it finds a notebook's lesson.

The source notebook names it in its metadata, {"autograder": {"lesson": NAME}}: an installed lesson, by
the name of its entry point in the group `autograder.lessons`, or any other as "module:object". Test
cells of a notebook without a lesson, and those that its lesson does not judge, are graded as nbgrader
grades them: by the errors they raise, or by the number they show.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .verdict import Verdict

if TYPE_CHECKING:
    from nbformat import NotebookNode

GROUP = "autograder.lessons"
KEY = "autograder"  # of a notebook's metadata


class Examiner(Protocol):
    """Judges one submission; is asked for its test cells in their order."""

    def verdict(self, cell: str, evidence: str | None) -> Verdict:
        """Return the Verdict on a test cell, by its grade id, from the evidence that it left, if any.

        Raises evidence.Malformed where there is none to judge; the cell then gets no points, and is marked.
        """


class Lesson:
    """A lesson, as grading sees it; this one judges nothing. See `autograder.tinybert` for one that does."""

    checks: Mapping[str, str] = {}  # {grade id of a test cell that it judges: what it checks, in two words}
    preload: Sequence[str] = ()  # modules that its kernels find imported
    defines: Mapping[str, str] = {}  # {answer's grade id: rule that is broken where it has not run}

    judges: Sequence[str] = ()  # names of this package's files and folders that turn evidence into verdicts

    @property
    def release(self) -> Sequence[Path]:
        """Files of this package that students get beside the notebook and `files`."""
        return ()

    @property
    def files(self) -> Sequence[str]:
        """Folders with the lesson's data: its kernels may read them, and a grade depends on them."""
        return ()

    def examiner(self, solution: Mapping[str, str], seed: int) -> Examiner:
        """Return what judges one submission.

        solution: {grade id: evidence} that the solution has left; {} for the solution itself.
        seed: that its test cells were run with, in place of `seed="secret"`.
        """
        raise NotImplementedError

    def explain(self, name: str, said: str) -> str | None:
        """Return a sentence for a student in place of an error that stopped a test cell; None to keep it."""

    def curve(self, printed: Mapping[str, str]) -> list[float]:
        """Return the loss of every epoch, for the report, from {grade id: what the cell has printed}."""
        return []


def installed() -> list[Lesson]:
    """Return the lessons that are installed; what is left of one that is gone is passed over."""
    found = []
    for entry in entry_points(group=GROUP):
        try:
            found.append(entry.load())
        except ModuleNotFoundError:
            continue
    return found


def lesson_of(notebook: "NotebookNode") -> Lesson:
    """Return the lesson that a notebook names. Raises LookupError if there is no such lesson."""
    return named(notebook.metadata.get(KEY, {}).get("lesson"))


@cache
def named(name: str | None) -> Lesson:
    """Return a lesson by its name; one that judges nothing without a name. Raises LookupError."""
    if name is None:
        return Lesson()
    try:
        if ":" in name:
            found = pkgutil.resolve_name(name)
        else:
            found = entry_points(group=GROUP)[name].load()
    except (ImportError, AttributeError, ValueError, KeyError) as error:
        raise LookupError(
            f"The notebook's metadata names the lesson `{name}` (`autograder.lesson`), and there is none of "
            f"that name ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(found, Lesson):
        raise LookupError(f"`{name}`, which the notebook's metadata names as its lesson, is no Lesson.")
    return found
