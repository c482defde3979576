"""One row a student: points as the gradebook has them, the mistake by its name, and how the run went."""

import os
import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry, Notebook, SubmittedAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import is_grade, is_solution
from sqlalchemy.exc import SQLAlchemyError

from ..lessons import KEY, lesson_of
from ..verdict import MARK, MIME_TYPE
from .marks import marks, sandbox_of, summary
from .penalties import update_penalties
from .read import grade_id, losses
from .state import State
from .submissions import folders
from .text import clean

Points = dict[str, float]  # by cell


@dataclass
class Row:
    """A student's line in the table."""

    student: str
    points: Points  # by test cell, a person's points in place of the machine's
    manual: dict[str, float | None] = field(default_factory=dict)  # by cell that only a person can grade
    mistakes: list[str] = field(default_factory=list)  # sentences about the answer, the cause first
    remarks: list[str] = field(default_factory=list)  # sentences about the file
    not_graded: str | None = None  # a sentence: why what lies in the folder is not
    submitted: bool = True
    graded: bool = True  # the gradebook has a grade, be it of an earlier submission
    late: float = 0.0  # seconds
    penalty: float = 0.0  # points
    marked: int = 0  # test cells that somebody should look at
    doubts: list[str] = field(default_factory=list)  # sentences: why
    waiting: int = 0  # cells that wait for a person, some with points for an earlier answer
    again: int = 0  # test cells that a person had graded, and that wait for another look
    sandbox: bool | None = None  # whether it ran in one
    walls: str = ""  # of that, the outermost first
    seconds: float | None = None  # that executing it took
    losses: list[float] = field(default_factory=list)  # mean of every epoch, of the student's own run
    limits: list[str] = field(default_factory=list)  # sentences: limits hit, attempts refused
    feedback: str | None = None  # path of its feedback page, from the course's root folder

    @property
    def total(self) -> float:
        """The points of the test cells."""
        return sum(self.points.values())

    @property
    def by_hand(self) -> float | None:
        """The points that people gave in the cells that only they can grade, None if none yet."""
        given = [points for points in self.manual.values() if points is not None]
        return sum(given) if given or not self.manual else None

    @property
    def grade(self) -> float:
        """All points, less the late penalty."""
        return max(0.0, self.total + (self.by_hand or 0.0) - self.penalty)

    @property
    def said(self) -> list[str]:
        """All sentences but the limits."""
        return ([self.not_graded] if self.not_graded else []) + self.remarks + self.mistakes


@dataclass
class GradedCell:
    """A cell with points, as the gradebook knows it."""

    label: str
    points: float
    by_hand: bool


def rows(course: CourseDirectory, assignment: str) -> tuple[Points, list[Row], Points]:
    """Return (max points by test cell, rows, max points by cell that a person grades).

    A row for everyone whom the gradebook knows or who has a folder.
    """
    steps = course.submitted_directory, course.autograded_directory, course.feedback_directory
    submitted, graded, feedback = (folders(course, assignment, step) for step in steps)
    not_graded, stale = State(course.root, assignment).not_graded, []
    with Gradebook(course.db_url, course.course_id) as gradebook:
        try:
            notebooks = gradebook.find_assignment(assignment).notebooks
            # The application's configuration: the directory's own was there before the file was read.
            update_penalties(gradebook, assignment, (course.parent or course).config)
        except MissingEntry:
            notebooks = []
        except SQLAlchemyError:
            raise
        except Exception as reason:  # of the course's own plugin
            gradebook.db.rollback()
            stale = [f"The late penalty may be an old one: {type(reason).__name__}: {reason}."]
        cells = graded_cells(notebooks)
        names = [notebook.name for notebook in notebooks]
        known = {entry.student_id: entry for entry in gradebook.assignment_submissions(assignment)}
        found = []
        for student in sorted({*known, *submitted, *graded, *(s.id for s in gradebook.students)}):
            row = Row(student, {cell.label: 0.0 for cell in cells.values() if not cell.by_hand})
            row.submitted, row.graded = student in submitted, False
            if student in known:
                fill_in(row, known[student], cells)
                row.remarks += stale if row.late else []
            if row.graded:
                place = graded.get(student, Path(steps[1], student))
                for name in names:
                    describe(row, place / f"{name}.ipynb")
                pages = (feedback[student] / f"{name}.html" for name in names if student in feedback)
                there = filter(os.path.exists, pages)
                row.feedback = next((os.path.relpath(page, course.root) for page in there), None)
            if row.submitted:
                row.not_graded = not_graded.get(student)
                if not (row.graded or row.not_graded):
                    row.not_graded = why_not_graded(submitted[student])
            found.append(row)
    automatic, by_hand = (
        {cell.label: cell.points for cell in cells.values() if cell.by_hand == wanted}
        for wanted in (False, True)
    )
    return automatic, found, by_hand


def graded_cells(notebooks: Sequence[Notebook]) -> dict[str, GradedCell]:
    """Return {id in the gradebook: GradedCell} in the order in which students meet them."""
    graded = [[*notebook.grade_cells, *notebook.task_cells] for notebook in notebooks]
    times = Counter(cell.name for cells in graded for cell in cells)
    found = {}
    for notebook, cells in zip(notebooks, graded):
        place = {cell.name: number for number, cell in enumerate(notebook.source_cells)}
        answers = {cell.name for cell in notebook.solution_cells}
        for cell in sorted(cells, key=lambda cell: place.get(cell.name, len(place))):
            label = cell.name if times[cell.name] == 1 else f"{notebook.name}: {cell.name}"
            by_hand = cell.cell_type != "code" or cell.name in answers
            found[cell.id] = GradedCell(label, cell.max_score, by_hand)
    return found


# --- What the gradebook says of a submission


def fill_in(row: Row, submission: SubmittedAssignment, cells: Mapping[str, GradedCell]) -> None:
    """Fill in points, and what is still to be done for them."""
    row.late, row.penalty = submission.total_seconds_late, submission.late_submission_penalty
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    row.graded = any(grade.auto_score is not None or grade.manual_score is not None for grade in grades)
    for grade in grades if row.graded else ():
        if (cell := cells.get(grade.cell_id)) is None:
            continue
        if cell.by_hand:
            unseen = grade.needs_manual_grade and grade.manual_score is None
            row.manual[cell.label] = None if unseen else grade.score
            row.waiting += grade.needs_manual_grade
            continue
        row.points[cell.label] = grade.score
        if grade.needs_manual_grade:
            row.again += grade.manual_score is not None
            row.marked += grade.manual_score is None


# --- What a graded notebook says of itself


def describe(row: Row, path: Path) -> None:
    """Fill in what a graded notebook says; damaged, or made by another version, it may say anything."""
    try:
        notebook = nbformat.read(path, as_version=4)
        notes = notebook.metadata.get(KEY, {})
        remarks = sentences(notes.get("remarks"))
        row.remarks += [remark for remark in remarks if remark not in row.remarks]
        row.limits += sentences(notes.get("limits"))
        row.losses = row.losses or numbers(notes.get("losses")) or losses(lesson_of(notebook), notebook.cells)
        row.seconds = next(iter(numbers([notes.get("seconds")])), row.seconds)
        row.sandbox = notes.get("sandbox") if isinstance(notes.get("sandbox"), bool) else row.sandbox
        row.walls = ", ".join(sentences(notes.get("walls")))
        row.mistakes += [sentence for sentence in name_mistakes(notebook) if sentence not in remarks]
        shown = (output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
        row.doubts += [str(data[MARK]) for data in shown if MARK in data]
    except FileNotFoundError:
        row.remarks.append(f"There is no graded `{path.name}`: it was not handed in, or has been removed.")
    except Exception as reason:
        row.remarks.append(
            str(reason)
            if type(reason) is LookupError  # its lesson is not installed here
            else f"The graded notebook cannot be read ({type(reason).__name__}): grade this submission again."
        )


def sentences(found: object) -> list[str]:
    return [str(sentence) for sentence in found] if isinstance(found, list) else []


def numbers(found: object) -> list[float]:
    """Return the numbers in a list, as far as it is one; an integer too large for a float is none."""
    found = found if isinstance(found, list) else []
    return [float(x) for x in found if isinstance(x, float) or isinstance(x, int) and abs(x) < 2**63]


def name_mistakes(notebook: NotebookNode) -> list[str]:
    """Return what went wrong in a graded notebook, one sentence each, causes first."""
    said, known = [], set()  # and rules which say no more than an error that stopped a cell
    lesson = lesson_of(notebook)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        errors = [output for output in cell.outputs if output.output_type == "error"]
        name = grade_id(cell) or "an extra cell"
        if is_solution(cell) and errors and errors[0].ename != "NotImplementedError":
            said.append(stopped(name, errors[0]))
            known.add(lesson.defines.get(name))
        elif is_grade(cell) and errors:
            in_words = errors[0].ename == "NotRun" or name in lesson.checks
            if errors[0].ename != "NotRun" or not said:  # else it is a consequence
                said.append(first_line(errors[0].evalue) if in_words else stopped(name, errors[0]))
        elif is_grade(cell) and any(output.get("name") == "stderr" for output in cell.outputs):
            said.append(f"`{name}` wrote to standard error, which nbgrader takes for a failure.")
        elif is_grade(cell):
            for output in cell.outputs:
                findings = output.get("data", {}).get(MIME_TYPE, {}).get("findings", [])
                said += [f["observed"] for f in findings if f["rule"] not in known]
    return list(dict.fromkeys(said))


def stopped(name: str | None, error: NotebookNode) -> str:
    """Say that a cell stopped with an error."""
    return f"`{name}` stopped with {error.ename}: {first_line(error.evalue)}".rstrip(": ")


def first_line(text: str) -> str:
    line = (text.strip().splitlines() or [""])[0][:200]
    return re.sub(r"\(\d+\.py, (line \d+)\)", r"(\1)", line)  # IPython's number for the cell


def why_not_graded(place: Path) -> str:
    """Say why a submission has no grade, as far as its place tells."""
    if place.is_symlink():
        return "In place of its folder there is a link to another one, which is not followed."
    try:
        names = sorted(path.name for path in place.iterdir())
    except OSError as reason:
        return f"Its folder cannot be read: {reason.strerror}."
    if not names:
        return "The folder is empty: nothing was submitted."
    if not any(name.endswith(".ipynb") for name in names):
        return f"There is no notebook in its folder, only `{names[0]}`."
    return "It is not graded yet: `autograder grade` does that, or says why it cannot."


# --- On the terminal


def table(
    cells: Points, found: Sequence[Row], by_hand: Points | None = None, width: int | None = None
) -> str:
    """Return the rows as text, wrapped to `width` columns (the terminal's, by default).

    cells, by_hand: max points by test cell, and by cell that a person grades.
    """
    width = width or shutil.get_terminal_size((120, 24)).columns
    automatic, manual = sum(cells.values()), sum((by_hand or {}).values())
    best = [*cells.values(), *([automatic, manual, len(by_hand)] if by_hand else []), automatic + manual]
    heads = [clean(cell).removeprefix("test_").replace("_", " ").split() for cell in cells]
    heads += [["auto-", "matic"], ["by", "hand"], ["waits"]] if by_hand else []
    heads.append(["total"])
    column = min(max([len(row.student) for row in found] + [7]), 20)
    widths = [max([5, *map(len, head)]) for head in heads]
    indent = " " * (column + sum(w + 2 for w in widths) + 2)
    sandbox, lines = sandbox_of(found), textwrap.wrap(summary(found), width) + [""]

    def line(name: str, values: Sequence[str], text: str = "") -> None:
        shown = "".join(f"  {v:>{w}}" for v, w in zip(values, widths))
        lines.append(f"{name:{column}}{shown}  {text}".rstrip())

    for k in range(max(map(len, heads))):
        parts = [(head + [""] * 9)[k] for head in heads]
        line("" if k else "student", parts, "" if k else "notes, then the first mistake")
    line("", [f"{points:g}" for points in best])
    lines.append("-" * width)
    for row in found:
        values = [row.points.get(cell) for cell in cells]
        values += [row.total, row.by_hand, row.waiting or None] if by_hand else []
        shown = ["-" if v is None or not row.graded else f"{v:g}" for v in [*values, row.grade]]
        said = [f"{mark}: {words}" if words else f"{mark}." for mark, words in marks(row, sandbox)]
        said += row.remarks + row.mistakes[:1]
        if len(row.mistakes) > 1:
            said[-1] += f" (+{len(row.mistakes) - 1} more)"
        names = textwrap.wrap(clean(row.student), column) or [""]
        wrapped = textwrap.wrap(" ".join(map(clean, said)) or "-", max(30, width - len(indent)))
        line(names[0], shown, wrapped[0])
        for name, more in zip_longest(names[1:], wrapped[1:], fillvalue=""):
            lines.append(f"{name:{len(indent)}}{more}".rstrip())
    return "\n".join(lines)
