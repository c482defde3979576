"""Grades as files: grades.csv, which people open in a spreadsheet, and what Canvas and Moodle import."""

import csv
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student, SubmittedAssignment
from nbgrader.plugins import CsvExportPlugin, ExportPlugin
from traitlets import Unicode

from .faults import InstallationFault
from .lms import CANVAS, MOODLE, Known, Sheet, System, sheet_or_fault
from .penalties import update_penalties
from .submissions import folders
from .text import clean, harmless

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
                self.warn_of(assignment.name, gradebook.assignment_submissions(assignment.name))

    def warn_of(self, assignment: str, submissions: list[SubmittedAssignment]) -> None:
        """Say whose points are not final, and who has handed in something that has none."""
        graded = {each.student_id for each in submissions if is_graded(each)}
        there = {each.student_id for each in submissions}
        there |= {*folders(self.parent.coursedir, assignment)} if self.parent else set()
        for students, why in (
            (
                [each.student_id for each in submissions if each.needs_manual_grade],
                "the points are not final, as answers wait for a person's grade",
            ),
            (
                there - graded,
                "what was handed in is not graded, which is no zero",
            ),
        ):
            if listed := ", ".join(clean(student, 60) for student in sorted(students)):
                self.log.warning("%s: %s: %s.", assignment, why, listed)

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


class SystemExport(ExportPlugin):
    """Fill one column of the grade file that a learning management system wrote, and leave the others.

    A row is a student's if one of its ids is the student's id, address or lms_user_id in the gradebook.
    The cells of all others stay as they are, and so do those of whom nothing final is known: one sentence
    for each kind says who they are.
    """

    system: System
    sheet = Unicode("", help="The grade file; by default the newest in downloaded/ASSIGNMENT/archive/.").tag(
        config=True
    )

    def export(self, gradebook: Gradebook) -> None:
        """Write the file with the grades of one assignment, or say in a sentence why there is none."""
        try:
            assignment = self.only(gradebook)
            sheet = sheet_or_fault(self.sheet, self.parent.coursedir, assignment.name, self.system)
            column = self.column_of(sheet, assignment)
            update_penalties(gradebook, assignment.name, self.config)
            self.fill(sheet, column, gradebook, assignment)
            dest = Path(self.to or f"{self.system.name.lower()}.csv")
            if dest.resolve() == sheet.path.resolve():
                raise InstallationFault(
                    f"`{dest}` is what {self.system.name} wrote: name another file with --to."
                )
            dest.write_bytes(sheet.text())
        except (InstallationFault, OSError) as fault:
            self.log.error("%s", harmless(str(fault)))
            sys.exit(1)
        self.log.info("%s: `%s` of %s is filled in.", dest, sheet.rows[0][column], sheet.path.name)

    def only(self, gradebook: Gradebook) -> Assignment:
        """Return the one assignment to export. Raises InstallationFault if there are several, or none."""
        found = [each for each in gradebook.assignments if is_asked_for(each.name, self.assignment)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(each.name for each in gradebook.assignments)
        raise InstallationFault(
            f"Name one assignment with --assignment NAME: the gradebook has {known or 'none'}."
        )

    def column_of(self, sheet: Sheet, assignment: Assignment) -> int:
        """Return the number of the column for the grades. Raises InstallationFault if it is not clear."""
        raise NotImplementedError

    def why_not(self, sheet: Sheet, row: list[str], column: int, score: float) -> str | None:
        """Say, in half a sentence, why the system would not take a score; None if it would."""
        raise NotImplementedError

    def fill(self, sheet: Sheet, column: int, gradebook: Gradebook, assignment: Assignment) -> None:
        """Write final scores to a column; say who has none and why."""
        known, seen, left = Known(gradebook), dict[str, int](), dict[str, list[str]]()
        submissions = {each.student_id: each for each in gradebook.assignment_submissions(assignment.name)}
        rows = {k: known.student(person) for k, person in sheet.people.items()}
        for student in rows.values():
            if student:
                seen[student] = seen.get(student, 0) + 1
        for k, student in rows.items():
            row, submission = sheet.rows[k], submissions.get(student or "")
            if not (student and submission and is_asked_for(student, self.student)):
                continue
            score = max(0.0, submission.score - submission.late_submission_penalty)
            why = (
                f"are in several rows of {sheet.path.name}" if seen[student] > 1
                else "are not graded" if not is_graded(submission)
                else "have answers that wait for a person's grade" if submission.needs_manual_grade
                else self.why_not(sheet, row, column, score)
            )  # fmt: skip
            if why:
                left.setdefault(why, []).append(student)
            else:
                row[column] = f"{round(score, 2):.10g}"
        if away := sorted({*submissions} - {*rows.values()}):
            left[f"are not in {sheet.path.name}"] = away
        for why, students in left.items():
            listed = ", ".join(clean(student, 60) for student in dict.fromkeys(students))
            self.log.warning("Not filled in, because they %s: %s.", why, listed)
        for name in (self.system.full_name, *self.system.others, "Section"):
            if (number := sheet.column(name)) is not None:
                for row in sheet.rows[1:]:
                    row[number] = cell(row[number])

    def must_agree(self, said: str, assignment: Assignment) -> None:
        """Raise InstallationFault if the system counts the assignment out of other points than the course."""
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", said.strip()) and float(said) != assignment.max_score:
            raise InstallationFault(
                f"{self.system.name} grades {assignment.name} out of {float(said):g} points, this course out "
                f"of {assignment.max_score:g}: set it to that there, and download the file again."
            )


class CanvasExport(SystemExport):
    """Canvas: Grades, Import, with what Grades, Export wrote; GradebookImporter in canvas-lms reads it."""

    system = CANVAS
    column = Unicode(
        "", help="The assignment's column; by default the one of its name, or the only one."
    ).tag(config=True)

    def column_of(self, sheet: Sheet, assignment: Assignment) -> int:
        """Return the number of the column "Title (1234)"; see Assignment.title_and_id in canvas-lms."""
        titles = {k: match[1] for k, name in enumerate(sheet.rows[0]) if (match := TITLE.fullmatch(name))}
        wanted = {*filter(None, [self.column])} or {assignment.name}
        found = [k for k, title in titles.items() if {title, sheet.rows[0][k]} & wanted]
        if not found and not self.column:
            found = [*titles]
        if len(found) != 1:
            listed = ", ".join(f'"{sheet.rows[0][k]}"' for k in titles)
            raise InstallationFault(
                f"Name one column of Canvas's with --CanvasExport.column: {listed or 'there is none'}."
            )
        for row in sheet.rows:
            if "Points Possible" in row[0]:
                self.must_agree(row[found[0]], assignment)
        return found[0]

    def why_not(self, sheet: Sheet, row: list[str], column: int, score: float) -> str | None:
        """Canvas: who is excused, or has another assignment, keeps that."""
        return {"EX": "are excused in Canvas", "N/A": "are not assigned this in Canvas"}.get(
            row[column].strip()
        )


class MoodleExport(SystemExport):
    """Moodle: Upload grading worksheet. mod/assign/feedback/offline skips silently what it does not take."""

    system = MOODLE

    def column_of(self, sheet: Sheet, assignment: Assignment) -> int:
        """Return the number of the column "Grade"."""
        if (best := sheet.column("Maximum Grade")) is not None:
            for said in {row[best] for row in sheet.rows[1:]}:
                self.must_agree(said, assignment)
        return sheet.rows[0].index("Grade")

    def why_not(self, sheet: Sheet, row: list[str], column: int, score: float) -> str | None:
        """Moodle: a grade may be locked, and none is above the maximum."""
        locked, best = sheet.column("Grade can be changed"), sheet.column("Maximum Grade")
        if locked is not None and row[locked].strip() == "No":
            return "are locked in Moodle"
        most = row[best].strip() if best is not None else ""
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", most) and score > float(most):
            return f"have more than {most}, which Moodle takes by hand only"
        return None


TITLE = re.compile(r"(.*) \(\d+\)", re.DOTALL)


def is_graded(submission: SubmittedAssignment) -> bool:
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    return any(grade.auto_score is not None or grade.manual_score is not None for grade in grades)


def is_asked_for(name: str, names: Iterable[object]) -> bool:
    return not names or name in map(str, names)


def cell(value: object) -> str:
    """Return a value as the text of a cell; a quote in front tells a spreadsheet to take it as it is."""
    text = "" if value is None else harmless(str(value))
    return text if NUMBER.fullmatch(text) else FORMULA.sub(r"\1'", text)
