"""One row a student: points for each test cell, the mistake by its name, and how the run went."""

import os
import re
import shutil
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.utils import is_grade, is_solution

from ..verdict import MIME_TYPE
from .read import KEY, grade_id, losses

# The rule that says a cell has defined nothing, which is no news where the cell stopped with an error.
DEFINES = {"todo1_optimizer": "is_optimizer", "todo2_train_tinybert": "is_function"}


@dataclass
class Row:
    """A student's line in the table."""

    student: str
    points: dict[str, float]  # by test cell
    mistakes: list[str]  # sentences, the cause first
    seconds: float | None = None  # that executing it took
    losses: list[float] = field(default_factory=list)  # mean of every epoch, of the student's own run
    limits: list[str] = field(default_factory=list)  # sentences: limits hit, attempts refused
    feedback: str | None = None  # path of its feedback page, from the course's root folder

    @property
    def total(self):
        return sum(self.points.values())


def rows(course, assignment):
    """Return (max points by test cell, [Row]) for every folder in submitted/.

    course: nbgrader's CourseDirectory.
    """
    with Gradebook(course.db_url, course.course_id) as gradebook:
        (notebook,) = gradebook.find_assignment(assignment).notebooks
        name = notebook.name
        cells = {cell.name: cell.max_score for cell in notebook.grade_cells if cell.cell_type == "code"}
        cells = {source.name: cells[source.name] for source in notebook.source_cells if source.name in cells}
        submitted = Path(course.format_path(course.submitted_directory, ".", ".")).resolve()
        found = []
        for folder in sorted(path for path in submitted.glob(f"*/{assignment}") if path.is_dir()):
            student = folder.parent.name
            graded = Path(course.format_path(course.autograded_directory, student, assignment))
            graded /= f"{name}.ipynb"
            row = Row(student, dict.fromkeys(cells, 0.0), [])
            if graded.exists():
                describe(row, nbformat.read(graded, as_version=4))
                page = Path(course.format_path(course.feedback_directory, student, assignment))
                page /= f"{name}.html"
                row.feedback = os.path.relpath(page) if page.exists() else None
                for cell in cells:
                    try:
                        grade = gradebook.find_grade(cell, name, assignment, student)
                        row.points[cell] = grade.auto_score or 0.0
                    except MissingEntry:
                        pass
            else:
                row.mistakes = [why_not_graded(folder, name)]
            found.append(row)
    return cells, found


def describe(row, notebook):
    """Fill in what a graded notebook says about itself."""
    notes = notebook.metadata.get(KEY, {})
    row.mistakes = name_mistakes(notebook)
    row.seconds, row.limits = notes.get("seconds"), notes.get("limits", [])
    row.losses = notes.get("losses") or losses(notebook.cells)


def why_not_graded(folder, name):
    """Say why a submitted folder has no graded notebook."""
    others = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if not others:
        return "The folder is empty: nothing was submitted."
    if f"{name}.ipynb" not in others:
        return f"There is no `{name}.ipynb`, only `{others[0]}`: rename it and grade again."
    return "Grading stopped before its end: the log of `nbgrader autograde` says why."


def name_mistakes(notebook):
    """Return what went wrong in a graded notebook, one sentence each, causes first."""
    remarks = notebook.metadata.get(KEY, {}).get("remarks", [])
    said, known = list(remarks), set()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        errors = [output for output in cell.outputs if output.output_type == "error"]
        name = grade_id(cell)
        if is_solution(cell) and errors and errors[0].ename != "NotImplementedError":
            said.append(f"`{name}` stopped with {errors[0].ename}: {first_line(errors[0].evalue)}")
            known.add(DEFINES.get(name))
        elif is_grade(cell) and errors:
            if errors[0].ename != "NotRun" or said == remarks:  # else it is a consequence
                said.append(first_line(errors[0].evalue))
        elif is_grade(cell):
            for output in cell.outputs:
                findings = output.get("data", {}).get(MIME_TYPE, {}).get("findings", [])
                said += [f["observed"] for f in findings if f["rule"] not in known]
    return list(dict.fromkeys(said))


def first_line(text):
    line = (text.strip().splitlines() or [""])[0][:200]
    return re.sub(r"\(\d+\.py, (line \d+)\)", r"(\1)", line)  # IPython's number for the cell


def table(cells, found, width=None):
    """Return the rows as text, wrapped to `width` columns (the terminal's, by default)."""
    width = width or shutil.get_terminal_size((120, 24)).columns
    heads = [cell.removeprefix("test_").replace("_", " ") for cell in cells]
    column = max([len(row.student) for row in found] + [7])
    widths = [max(map(len, head.split())) for head in heads]
    indent = " " * (column + 2 + sum(w + 2 for w in widths) + 7)
    lines = []
    for k in range(max(len(head.split()) for head in heads)):
        parts = [(head.split() + [""] * 9)[k] for head in heads]
        left = "student" if k == 0 else ""
        lines.append(f"{left:{column}}  " + "  ".join(f"{p:>{w}}" for p, w in zip(parts, widths))
                     + ("  total  mistake" if k == 0 else ""))  # fmt: skip
    best = "  ".join(f"{m:{w}g}" for m, w in zip(cells.values(), widths))
    lines += [f"{'':{column}}  {best}  {sum(cells.values()):5g}", "-" * width]
    for row in found:
        points = "  ".join(f"{p:{w}g}" for p, w in zip(row.points.values(), widths))
        text = row.mistakes[0] if row.mistakes else "-"
        if len(row.mistakes) > 1:
            text += f" (+{len(row.mistakes) - 1} more)"
        wrapped = textwrap.wrap(text, max(30, width - len(indent))) or [""]
        lines.append(f"{row.student:{column}}  {points}  {row.total:5g}  {wrapped[0]}")
        lines += [indent + more for more in wrapped[1:]]
    return "\n".join(line.rstrip() for line in lines)
