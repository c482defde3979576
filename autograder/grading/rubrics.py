"""Rubrics, which a person grades an answer by: from the source notebook to the place beside each answer.

A rubric stands in the solution's own answer cell, behind the answer: a paragraph that begins with
**Rubric.**, or a heading of that name, and all below it.
"""

import re
from hashlib import sha256
from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

from ..lessons import KEY
from .read import Processed, grade_id
from .restore import read_release

RUBRIC = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*|\*\*|__)Rubric\b[.:]?(?:\*\*|__)?[.:]?\s*", re.MULTILINE | re.IGNORECASE
)
NOTES = re.compile(r"<!--.*?-->|^[ \t]*#+ (?:BEGIN|END) SOLUTION[ \t]*$", re.DOTALL | re.MULTILINE)
# A box, which no student's Markdown can draw: see `harmless.markdown`.
BOX = (
    '<div style="border-left:5px solid #0072B2;padding:.25em 1em;margin-bottom:1em">'
    "\n\n**Rubric.** {}\n\n</div>"
)


def is_by_hand(cell: NotebookNode) -> bool:
    """Whether the cell is an answer that a person grades."""
    return is_grade(cell) and is_solution(cell)


def split(source: str) -> tuple[str, str]:
    """Return the answer and the rubric in the source of a solution's cell; "" where there is none."""
    answer, *rubric = RUBRIC.split(NOTES.sub("", source), maxsplit=1)
    return answer.strip(), "".join(rubric).strip()


def is_rubric(cell: NotebookNode) -> bool:
    """Whether autograding has put the cell beside an answer; what students hand in has no such metadata."""
    return bool(cell.metadata.get(KEY, {}).get("rubric"))


def rubric_cell(name: str, rubric: str) -> NotebookNode:
    """Return the locked cell that shows the rubric of the answer of that name."""
    nbgrader = dict.fromkeys(("grade", "solution", "task"), False)
    return new_markdown_cell(
        BOX.format(rubric),
        id=f"rubric-{sha256(name.encode()).hexdigest()[:16]}",  # the same whenever it is graded
        metadata={
            "nbgrader": {**nbgrader, "locked": True, "grade_id": f"rubric_{name}", "schema_version": 3},
            KEY: {"rubric": True},
            "editable": False,
            "deletable": False,
        },
    )


class ShowRubrics(NbGraderPreprocessor):
    """Put the solution's rubric beside each answer that a person grades, for Formgrader; `HideTests` takes
    it out of the feedback.

    Runs after all that looks at a submission's cells, and where the course is: workers have no solution.
    """

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Add the rubrics that the source notebook has."""
        course, names = self.parent.parent.coursedir, resources["nbgrader"]
        folder = course.format_path(course.source_directory, ".", names["assignment"])
        path = Path(folder, f"{names['notebook']}.ipynb")
        source = read_release(path, path.stat().st_mtime_ns).cells if path.exists() else []
        rubrics = {grade_id(cell): split(cell.source)[1] for cell in source if is_by_hand(cell)}
        cells = []
        for cell in nb.cells:
            cells.append(cell)
            name = grade_id(cell)
            if name and is_by_hand(cell) and rubrics.get(name):
                cells.append(rubric_cell(name, rubrics[name]))
        nb.cells = cells
        return nb, resources
