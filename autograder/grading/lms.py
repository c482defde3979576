"""The grade files of Canvas and Moodle: who is in them, under which ids, and where the grades go.

Canvas: Grades, Export. The columns are those of GradebookExporter#csv_data in canvas-lms
(lib/gradebook_exporter.rb); GradebookImporter in lib/gradebook_importer.rb reads them.
Moodle: an assignment's offline grading worksheet. The columns are those of assign_grading_table in
moodle (mod/assign/gradingtable.php); mod/assign/feedback/offline/importgradeslib.php reads them.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nbgrader.api import Gradebook, Student
from nbgrader.coursedir import CourseDirectory

from .faults import InstallationFault

DOWNLOADED, ARCHIVE = "downloaded", "archive"  # where nbgrader zip_collect looks


@dataclass(frozen=True)
class System:
    """What a learning management system calls the columns of its grade file."""

    name: str
    number: str  # the column with the number that the names of downloaded files hold
    others: tuple[str, ...]  # those with other ids, the one that people know first
    full_name: str
    needed: tuple[str, ...]  # what else makes a file such a file


CANVAS = System("Canvas", "ID", ("SIS Login ID", "SIS User ID", "Integration ID"), "Student", ("Section",))
MOODLE = System(
    "Moodle", "Identifier", ("Email address", "Username", "ID number"), "Full name",
    ("Grade", "Last modified (grade)"),
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """A student as a learning management system knows them."""

    number: str  # of the user, the participant or the submission; the only id that is sure to be there
    others: tuple[str, ...] = ()  # ids, the one that people know first
    name: str = ""


@dataclass
class Sheet:
    """A grade file: `rows[0]` is the header; `people` has the number of a row and who it is about."""

    system: System
    path: Path
    rows: list[list[str]]
    delimiter: str
    encoding: str
    people: dict[int, Person] = field(default_factory=dict)

    def column(self, name: str) -> int | None:
        """Return the number of a column, or None."""
        return self.rows[0].index(name) if name in self.rows[0] else None

    @cached_property
    def by_number(self) -> dict[str, Person]:
        """The people by the number that the system has for them."""
        return {person.number: person for person in self.people.values()}

    def text(self) -> bytes:
        """Return the file, in the shape in which the system wrote it."""
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter, lineterminator="\n").writerows(self.rows)
        return text.getvalue().encode(self.encoding)


def read_sheet(path: Path) -> Sheet | None:
    """Return a grade file, or None if it is none that Canvas or Moodle writes, in English."""
    content = path.read_bytes()
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        text = content.decode(encoding)
        first = text.partition("\n")[0]
        delimiter = ";" if first.count(";") > first.count(",") else ","
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except (UnicodeDecodeError, csv.Error):
        return None
    for system in (CANVAS, MOODLE):
        if rows and {system.number, system.full_name, *system.needed} <= {*rows[0]}:
            sheet = Sheet(system, path, rows, delimiter, encoding)
            sheet.people = dict(people(sheet))
            return sheet
    return None


def people(sheet: Sheet) -> Iterable[tuple[int, Person]]:
    """Yield (number of the row, Person) for each row that is about a student."""
    others = [column for name in sheet.system.others if (column := sheet.column(name)) is not None]
    number, name = sheet.column(sheet.system.number), sheet.column(sheet.system.full_name)
    width = len(sheet.rows[0])
    for k, row in enumerate(sheet.rows[1:], 1):
        row += [""] * (width - len(row))
        found = re.search(r"[0-9]+$", row[number or 0].strip())  # "Participant 123456" in Moodle
        if found:
            yield k, Person(found[0], tuple(row[c].strip() for c in others if row[c].strip()), row[name or 0])


def find_sheet(course: CourseDirectory, assignment: str, system: System | None = None) -> Sheet | None:
    """Return the newest grade file, of one system or any, that lies beside a download; None without one."""
    place = Path(course.root, DOWNLOADED, assignment, ARCHIVE)
    files = sorted(place.glob("*.csv"), key=lambda path: path.stat().st_mtime, reverse=True)
    sheets = filter(None, map(read_sheet, files))
    return next((sheet for sheet in sheets if system in (None, sheet.system)), None)


class Known:
    """The students whom the gradebook has, to be found by an id, an address or the system's own id."""

    def __init__(self, gradebook: Gradebook):
        self.found: dict[str, set[str]] = {}
        for student in gradebook.students:
            for key in keys(student):
                self.found.setdefault(key, set()).add(student.id)

    def student(self, person: Person) -> str | None:
        """Return the id of the student who is this person; None if there is none, or several may be."""
        for key in (*person.others, person.number):
            students = self.found.get(key.casefold(), set())
            if len(students) == 1:
                return next(iter(students))
        return None


def keys(student: Student) -> set[str]:
    return {key.casefold() for key in (student.id, student.email, student.lms_user_id) if key}


def sheet_or_fault(path: str, course: CourseDirectory, assignment: str, system: System) -> Sheet:
    """Return the grade file at `path`, or beside the download. Raises InstallationFault if there is none."""
    try:
        sheet = read_sheet(Path(path)) if path else find_sheet(course, assignment, system)
    except OSError as error:
        raise InstallationFault(f"`{path}` cannot be read: {error.strerror}.") from None
    if sheet and sheet.system is system:
        return sheet
    place = f"{DOWNLOADED}/{assignment}/{ARCHIVE}/"
    found = f"`{path}` is no grade file of {system.name}" if path else f"There is none in {place}"
    columns = ", ".join((system.full_name, system.number, *system.needed))
    raise InstallationFault(
        f"{found}: download it from {system.name}, in English (it has the columns {columns}), and put it "
        f"into {place} or name it with --{system.name}Export.sheet=FILE."
    )
