"""Points and comments from SCORES.json, which graders download from reflections.html, into the gradebook.

What is in the gradebook then is what Formgrader would have put there.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import nbformat
from nbgrader.api import Comment, Grade, Gradebook
from nbgrader.coursedir import CourseDirectory
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm import tqdm

from .gradebook import opened
from .read import grade_id
from .reflections import FORMAT, digest
from .submissions import folders
from .text import clean

Key = tuple[str, str, str, str]  # assignment, notebook, cell, student
Points = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=20_000)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Known(Strict):
    """What the gradebook had when the grader saw the answer."""

    points: float | None
    comment: Text


class Entry(Strict):
    """What a grader gave for one answer; what was not touched is not there."""

    notebook: Text
    cell: Text
    student: Text
    answer: Text  # its digest
    known: Known
    points: Points | None = None
    comment: Text | None = None


class Scores(Strict):
    """A SCORES.json; its entries are looked at one by one."""

    format: str
    course: Text
    assignment: Text
    scores: list[Any]


@dataclass
class Result:
    """What was written, and a sentence for everything that was not."""

    points: int = 0
    comments: int = 0
    left_out: list[str] = field(default_factory=list)


def enter(course: CourseDirectory, assignment: str, files: Sequence[Path], overwrite: bool = False) -> Result:
    """Write the scores in files to the gradebook; what cannot be written keeps nothing else from it.

    assignment: "" for any of the course. overwrite: also over what was entered elsewhere since.
    """
    result = Result()
    given: dict[Key, dict[str, Entry]] = {}  # by the file's name
    names = [file.name for file in files]
    with opened(course) as gradebook:
        for file in files:
            name = file.name if names.count(file.name) == 1 else str(file)
            try:
                scores = read(file, course, assignment, gradebook)
                result.left_out += [f"{name}: {said}" for said in collect(scores, name, given)]
            except ValueError as why:
                result.left_out.append(f"{name} {why}")
        known = {name: Graded(course, name, gradebook) for name in sorted({key[0] for key in given})}
        for key, entries in tqdm(given.items(), desc="entering", unit="answer", leave=False):
            result.left_out += known[key[0]].enter(key, entries, overwrite, result)
        gradebook.db.commit()
    result.left_out = list(dict.fromkeys(result.left_out))
    return result


def read(file: Path, course: CourseDirectory, assignment: str, gradebook: Gradebook) -> Scores:
    """Return what is in a file. Raises ValueError, the end of a sentence, where it is not this course's."""
    try:
        scores = Scores.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        scores = None
    if scores is None or scores.format != FORMAT:
        raise ValueError("is no file of scores: download it again from reflections.html.")
    if scores.course != course.course_id:
        raise ValueError(
            f"is of the course `{clean(scores.course)}`, and this is `{course.course_id}`: go to its folder."
        )
    known = [assignment] if assignment else [each.name for each in gradebook.assignments]
    if scores.assignment not in known:
        raise ValueError(f"is of the assignment `{clean(scores.assignment)}`, not of {' or '.join(known)}.")
    return scores


def collect(scores: Scores, file: str, given: dict[Key, dict[str, Entry]]) -> Iterator[str]:
    """Add a file's entries to what was given; yield a sentence for each that is malformed."""
    for number, raw in enumerate(scores.scores, 1):
        try:
            entry = Entry.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "it"
            yield f"entry {number} was left out, because of `{clean(place, 60)}`: {clean(first['msg'])}."
            continue
        key = scores.assignment, entry.notebook, entry.cell, entry.student
        given.setdefault(key, {})[file] = entry


class Graded:
    """What the gradebook and the graded notebooks have of an assignment."""

    def __init__(self, course: CourseDirectory, assignment: str, gradebook: Gradebook) -> None:
        self.folders = folders(course, assignment, course.autograded_directory)
        self.cells: dict[tuple[str, str, str], Grade] = {}
        self.comments: dict[tuple[str, str, str], Comment] = {}
        for submission in gradebook.assignment_submissions(assignment):
            for book in submission.notebooks:
                comments = {comment.cell.name: comment for comment in book.comments}
                for grade in book.grades:
                    name = grade.cell.name
                    if name in comments:  # an answer
                        self.cells[book.name, name, submission.student_id] = grade
                        self.comments[book.name, name, submission.student_id] = comments[name]
        self.students = {student for _, _, student in self.cells}
        self.answers: dict[tuple[str, str], dict[str | None, str]] = {}

    def answer(self, notebook: str, cell: str, student: str) -> str | None:
        """Return the digest of an answer as it was graded last; None where there is none."""
        if (notebook, student) not in self.answers:
            try:
                found = nbformat.read(self.folders[student] / f"{notebook}.ipynb", as_version=4).cells
            except Exception:  # whatever has become of it
                found = []
            self.answers[notebook, student] = {grade_id(each): digest(each) for each in found}
        return self.answers[notebook, student].get(cell)

    def enter(self, key: Key, entries: dict[str, Entry], overwrite: bool, result: Result) -> Iterator[str]:
        """Write one answer's scores to the gradebook; yield a sentence for what is left out."""
        _, notebook, cell, student = key
        place, what = (notebook, cell, student), f"`{clean(cell)}` of {clean(student)}"
        if student not in self.students:
            yield f"{named(entries)}: the gradebook has no answer of `{clean(student)}`."
            return
        if place not in self.cells:
            yield f"{named(entries)}: there is no answer `{clean(cell)}` in `{clean(notebook)}`."
            return
        grade, comment = self.cells[place], self.comments[place]
        for file, entry in list(entries.items()):
            if entry.answer != self.answer(*place):
                yield f"{file}: {what} has changed since the page was written: write it again and look."
                del entries[file]
            elif entry.points is not None and entry.points > grade.max_score:
                yield f"{file}: {what} was given {entry.points:g} points of {grade.max_score:g}: mend that."
                del entries[file]
        points = {file: entry.points for file, entry in entries.items() if entry.points is not None}
        comments = {
            file: entry.comment.strip() for file, entry in entries.items() if entry.comment is not None
        }
        for noun, said in (("points", points), ("comments", comments)):
            if len(set(said.values())) > 1:
                told = ", ".join(f"{file}: {told_as(value)}" for file, value in said.items())
                yield f"{what} was given different {noun} ({told}): nothing was written, agree on one."
                return
        for file, new in list(points.items())[:1]:
            now = grade.manual_score
            if now in (None, new, entries[file].known.points) or overwrite:
                result.points += now != new or grade.needs_manual_grade
                grade.manual_score, grade.needs_manual_grade = new, False
            else:
                yield kept(file, what, f"{now:g} points", told_as(new))
        for file, text in list(comments.items())[:1]:
            there = comment.manual_comment or ""
            if there in ("", text, entries[file].known.comment) or overwrite:
                result.comments += there != text
                comment.manual_comment = text or None
            else:
                yield kept(file, what, f"the comment {told_as(there)}", told_as(text))


def named(entries: dict[str, Entry]) -> str:
    return " and ".join(entries)


def told_as(value: float | str) -> str:
    return f"“{clean(value, 60)}”" if isinstance(value, str) else f"{value:g}"


def kept(file: str, what: str, now: str, new: str) -> str:
    return (
        f"{what} was given {now} elsewhere since the page was written, and keeps that; {file} has {new} "
        "(--overwrite puts it in)."
    )
