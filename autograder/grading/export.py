"""grades.csv, which people open in a spreadsheet."""

import csv
import re
from collections.abc import Iterable

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student
from nbgrader.plugins import CsvExportPlugin

from .penalties import update_penalties
from .text import harmless

# What a spreadsheet runs. Where its locale has cells end at a semicolon, one may begin within ours.
FORMULA = re.compile(r"(^|[,;|\n])(?=\s*[=+\-@＝＋－＠])")
NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?")
COLUMNS = [
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score",
]  # fmt: skip


class CsvExport(CsvExportPlugin):
    """nbgrader's CsvExportPlugin, with late penalties as they are now and no cell that is a formula.

    nbgrader's own joins values with commas; whatever a name holds, here it stays in one cell.
    """

    def export(self, gradebook: Gradebook) -> None:
        """Write a row for each student and assignment, or for those that were asked for."""
        dest = self.to or "grades.csv"
        self.log.info("Exporting grades to %s", dest)
        with open(dest, "w", encoding="utf-8", errors="replace", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for assignment in gradebook.assignments:
                if not is_asked_for(assignment.name, self.assignment):
                    continue
                update_penalties(gradebook, assignment.name, self.config)
                for student in gradebook.students:
                    if is_asked_for(student.id, self.student):
                        writer.writerow(map(cell, self.row(gradebook, assignment, student)))

    def row(self, gradebook: Gradebook, assignment: Assignment, student: Student) -> tuple[object, ...]:
        """Return a student's values in one assignment; who handed in nothing has no points."""
        try:
            submission = gradebook.find_submission(assignment.name, student.id)
            points, penalty = submission.score, submission.late_submission_penalty
            when = submission.timestamp
        except MissingEntry:
            points, penalty, when = 0.0, 0.0, None
        return (
            assignment.name, assignment.duedate, when, student.id, student.last_name, student.first_name,
            student.email, points, penalty, max(0.0, points - penalty), assignment.max_score,
        )  # fmt: skip


def is_asked_for(name: str, names: Iterable[object]) -> bool:
    return not names or name in map(str, names)


def cell(value: object) -> str:
    """Return a value as the text of a cell; a quote in front tells a spreadsheet to take it as it is."""
    text = "" if value is None else harmless(str(value))
    return text if NUMBER.fullmatch(text) else FORMULA.sub(r"\1'", text)
