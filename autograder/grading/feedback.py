"""Show students what the hidden tests found, not the hidden tests, and nothing that is for their graders."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbconvert.exporters import HTMLExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_grade, is_solution, is_task
from traitlets import Bool

from ..verdict import MARK
from .read import Processed, grade_id
from .report import name_mistakes
from .rubrics import is_rubric

LONGEST = 110  # characters of a cell's label
NO_ANSWER = "No response."  # nbgrader's comment on an answer that is as it was handed out


class HideTests(ClearHiddenTests):
    """nbgrader's ClearHiddenTests, for the feedback pages.

    Test cells only: a student's own cell may hold anything, also half a marker. Of a lesson's checks there
    are no tracebacks to remove, because ScoreCells leaves one sentence in their place.
    """

    show_rubrics = Bool(
        False, help="Whether students see the rubrics of the answers that a person grades."
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Take out the rubrics, unless they are to be shown, and what is hidden in the test cells."""
        nb.cells = [cell for cell in nb.cells if self.show_rubrics or not is_rubric(cell)]
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, cell_index: int) -> Processed:
        """Remove the hidden part of one test cell, and the marks in it."""
        if not is_grade(cell) or is_solution(cell):
            return cell, resources
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if MARK not in output.get("data", {})]
            if self.begin_test_delimeter in cell.source:  # tracebacks quote the lines around an error
                for output in cell.outputs:
                    if output.output_type == "error":
                        output.traceback = [f"{output.ename}: {output.evalue}"]
        return super().preprocess_cell(cell, resources, cell_index)


class FeedbackExporter(HTMLExporter):
    """nbgrader's feedback page, with what was found at its top; `c.GenerateFeedback.exporter_class`."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)  # type: ignore[no-untyped-call]
        self.extra_template_basedirs = [
            *self.extra_template_basedirs,
            str(Path(__file__).parent / "templates"),
        ]
        self.template_name = "feedback_page"
        # Found out before; and what our template extends is named by nbgrader's folder.
        self.template_paths = [*self._template_paths(), *self.extra_template_basedirs]

    def default_filters(self) -> Iterator[tuple[str, Any]]:
        """Yield the filters of the template, `summary` and `points` among them."""
        yield from super().default_filters()  # type: ignore[no-untyped-call]
        yield "summary", summary
        yield "points", points


def summary(nb: NotebookNode) -> dict[str, Any]:
    """Return the cells of a graded notebook that have points, what was found there (text of students), and
    how many answers wait for a person.
    """
    cells = list(graded(nb))
    found = ((said, cell) for cell in cells for said in name_mistakes(only(nb, cell["id"])))
    findings = {said: {"said": said, "cell": cell["id"], "label": cell["label"]} for said, cell in found}
    waiting = sum(cell.metadata.get("nbgrader", {}).get("waits", False) for cell in nb.cells)
    checked = any(is_grade(cell) and not is_solution(cell) for cell in nb.cells)
    return {
        "cells": cells, "findings": list(findings.values()), "waiting": waiting, "checked": checked
    }  # fmt: skip


def graded(nb: NotebookNode) -> Iterator[dict[str, Any]]:
    """Yield the cells that have points, each with a label that says what it asks."""
    question = ""
    for cell in nb.cells:
        if is_grade(cell) or is_task(cell):
            notes, name = cell.metadata.nbgrader, grade_id(cell)
            yield {"id": name, "label": label(cell, cell.source if is_task(cell) else question),
                   "place": f"comment-{name}" if is_task(cell) else name,  # nbgrader's own name for it
                   "points": points(notes), "comment": notes.get("comment"),
                   "empty": notes.get("comment") == NO_ANSWER}  # fmt: skip
        elif cell.cell_type == "markdown" and not is_rubric(cell):
            question = cell.source


def points(notes: NotebookNode) -> str:
    """Return the points of a cell in words, from nbgrader's metadata as `GetGrades` leaves it."""
    best = f"of {notes.get('points') or 0:g}"
    if notes.get("waits") and notes.score is None:
        return f"not graded yet, {best}"
    return f"{notes.get('score') or 0:g} {best}" + (" so far" if notes.get("waits") else "")


def label(cell: NotebookNode, question: str) -> str:
    """Return what a cell asks: a test's first comment, or the text above an answer."""
    if cell.cell_type == "code" and not is_solution(cell):
        first = cell.source.split("\n", 1)[0]
        text = re.sub(r"\s*\(\d+ points?\)$", "", first.lstrip("# ")) if first.startswith("#") else ""
    else:
        text = re.sub(r"[*_`#]", "", question.strip().split("\n", 1)[0]).strip()
    return textwrap.shorten(text or grade_id(cell) or "a cell", LONGEST, placeholder=" …")


def only(nb: NotebookNode, name: str) -> NotebookNode:
    """Return the notebook with one of its graded cells, for what is to be said of that."""
    cells = [cell for cell in nb.cells if grade_id(cell) == name]
    return NotebookNode(cells=cells, metadata=nb.metadata)
