"""Collect what a class handed in to Canvas, Moodle or Gradescope, for `nbgrader zip_collect`.

The instructor puts what the system gives into downloaded/ASSIGNMENT/archive/: the zip of all submissions
(or the folder that a browser made of it), and beside it, if there is one, the system's grade file; see
`lms`. `Unpack` writes extracted/STUDENT/FILE from that, by the names that `downloads` describes; `Collect`
tells nbgrader to copy it to submitted/. The archive stays as it is, so what is left out, each with a
sentence, is not lost.
"""

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nbgrader.apps.zipcollectapp import ZipCollectApp
from nbgrader.plugins import ExtractorPlugin, FileNameCollectorPlugin
from nbgrader.utils import find_all_notebooks

from .downloads import BROKEN, METADATA, MOST, File, Handed, download, metadata, usable, whose
from .faults import InstallationFault
from .gradebook import opened
from .lms import Known, Person, Sheet, find_sheet
from .submissions import TIMESTAMP
from .text import clean, harmless

MOST_SAID = 10  # files of one kind that are named


class Unpack(ExtractorPlugin):
    """An extractor_plugin that sorts the download by student, newest files only."""

    parent: ZipCollectApp

    def extract(self, archive_path: str, extracted_path: str) -> None:
        """Write STUDENT/FILE below `extracted_path` for all that is in `archive_path`."""
        course, assignment = self.parent.coursedir, self.parent.coursedir.assignment_id
        released = {*find_all_notebooks(course.format_path(course.release_directory, ".", assignment))}
        if not released:  # what was handed in is known by their names
            self.parent.fail(
                f"There is no released notebook: run `nbgrader generate_assignment {assignment}` first."
            )
        sheet = find_sheet(course, assignment)
        with ExitStack() as stack:
            found: list[Handed] = []
            try:
                for files in download(Path(archive_path), stack):
                    found += self.recognised(files, released, sheet)
                if not found:
                    raise InstallationFault(
                        f"Nothing in {archive_path} is named like a submission in Canvas, Moodle or "
                        "Gradescope: put the zip there that the system gives for all submissions."
                    )
            except InstallationFault as fault:
                self.parent.fail(str(fault))
            found = self.named(found, sheet)
            self.say_marks(found)
            self.write(self.newest([each for each in found if each.own]), Path(extracted_path))
            self.say_texts(found)

    def say(self, sentence: str) -> None:
        self.log.warning("%s", harmless(" ".join(sentence.split())))

    def recognised(self, files: list[File], released: set[str], sheet: Sheet | None) -> list[Handed]:
        """Return what was handed in, of the files of one archive; say what is none of it."""
        found, unknown = [], []
        graded = metadata(files)
        for file in files:
            if {"..", ""} & {*file.parts} or ":" in file.parts[0]:
                self.say(f"`{clean(file.path)}` was left out: its path leads out of the download.")
            elif any(part.startswith(".") or part == "__MACOSX" for part in file.parts):
                continue  # of an editor, or of the system on which it was packed
            elif handed := whose(file, graded, released, sheet):
                found += handed
            elif file.parts[-1] != METADATA:
                unknown.append(file.path)
        for path in unknown[:MOST_SAID]:
            self.say(f"`{clean(path)}` was left out: it is named like no submission.")
        if unknown[MOST_SAID:]:
            self.say(
                f"{len(unknown) - MOST_SAID} more files were left out: they are named like no submission."
            )
        return found

    def named(self, found: list[Handed], sheet: Sheet | None) -> list[Handed]:
        """Return the same with the student's id in the gradebook as the person's number.

        That is the id of whom the gradebook knows already; else, with a grade file, the id that people
        know (Canvas: SIS Login ID, Moodle: Email address); else the number in the file's name.
        """
        systems = {each.system for each in found} - {None}
        if sheet and systems and sheet.system not in systems:
            self.say(f"`{sheet.path.name}` is a grade file of {sheet.system.name}, and this download is not.")
            sheet = None
        people = {each.person.number: completed(each, sheet) for each in found}
        with opened(self.parent.coursedir) as gradebook:
            known = Known(gradebook)
            ids = {number: known.student(each) or first(each) for number, each in people.items()}
            for number in clashing(ids):
                self.say(
                    f"`{clean(ids[number])}` would be the id of several students: {number} keeps this number."
                )
                ids[number] = number
            there = {student.id for student in gradebook.students}
            for number, each in people.items():
                if each.name and ids[number] not in there:
                    gradebook.add_student(ids[number], **names(each))
                    there.add(ids[number])
        return [
            replace(each, person=replace(people[each.person.number], number=ids[each.person.number]))
            for each in found
        ]

    def newest(self, found: list[Handed]) -> list[Handed]:
        """Return one file for each student and name, of the newest attempt; say what else there is."""
        last: dict[str, str] = {}
        for each in found:
            last[each.person.number] = max(each.attempt, last.get(each.person.number, ""))
        for each in {
            each.person.number: each for each in found if each.attempt < last[each.person.number]
        }.values():
            self.say(f"{each.student} handed in more than once: the newest submission was taken.")
        chosen: dict[tuple[str, str], Handed] = {}
        torn = set()
        for each in sorted(found, key=lambda each: (each.file_number, each.file.path)):
            place = each.person.number, each.own.casefold()
            if each.attempt < last[each.person.number]:
                continue
            other = chosen.setdefault(place, each)
            if other.file_number < each.file_number:
                self.say(
                    f"{each.student} handed in `{clean(each.own)}` more than once: the newest was taken."
                )
                chosen[place] = each
            elif other is not each and digest(other.file) != digest(each.file):
                torn.add(place)
        for place in torn:
            each = chosen.pop(place)
            self.say(
                f"{each.student} has two different files `{clean(each.own)}`, and nothing says which is "
                "newer: leave one download in the archive folder and collect again."
            )
        return [*chosen.values()]

    def write(self, found: list[Handed], place: Path) -> None:
        """Write files, and a time stamp for each student where the system has told the time."""
        most = self.parent.coursedir.max_file_size * 1000
        for each in found:
            path = place / each.person.number / each.own
            try:
                content = each.file.read(most + 1)
                if len(content) > most:
                    raise ValueError(f"it is larger than {most / 1e6:g} MB")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                if each.time:
                    (place / each.person.number / TIMESTAMP).write_text(each.time)
            except BROKEN as error:
                why = getattr(error, "strerror", None) or error or type(error).__name__
                self.say(f"`{clean(each.own)}` of {each.student} was left out: {why}.")
        self.log.info("%d files of %d students", len(found), len({each.person.number for each in found}))

    def say_marks(self, found: list[Handed]) -> None:
        for each in found:
            if each.unsure:
                self.say(
                    f"`{clean(each.file.path)}` was taken for {each.student}'s, but may be somebody else's: "
                    "put Canvas's grade file beside the zip and collect again."
                )
        late = sorted({each.student for each in found if each.late})
        if late:
            self.say(
                f"Canvas marks as late, without saying how late: {', '.join(late)}. Penalties of this course "
                f"need a {TIMESTAMP}; those of Canvas are its own."
            )

    def say_texts(self, found: list[Handed]) -> None:
        files = {each.person.number for each in found if each.own}
        for student in sorted({each.student for each in found if each.person.number not in files}):
            self.say(f"{student} handed in a text or an address, and no file.")


class Collect(FileNameCollectorPlugin):
    """A collector_plugin for what `Unpack` wrote: the student is the folder.

    Files of all kinds are collected, also for a student without a notebook: the report says what is there.
    """

    parent: ZipCollectApp

    def collect(self, submitted_file: str) -> dict[str, str]:
        """Return {student_id, file_id} of a file."""
        place = self.parent._format_collect_path(self.parent.extracted_directory)
        student, *own = Path(submitted_file).relative_to(place).parts
        return {"student_id": student, "file_id": "/".join(own)}


def digest(file: File) -> bytes:
    try:
        return hashlib.sha256(file.read(MOST)).digest()
    except BROKEN:
        return b""


# --- Who a person is in the gradebook


def first(person: Person) -> str:
    """Return the id that people know, of those that can be a folder's name."""
    return next(filter(usable, person.others), person.number)


def completed(handed: Handed, sheet: Sheet | None) -> Person:
    """Return the person with what the grade file says of them."""
    person = handed.person
    if not sheet:
        return person
    if handed.system:
        same = sheet.by_number.get(person.number)
    else:
        keys = {key.casefold() for key in person.others}
        same = next((s for s in sheet.people.values() if keys & {k.casefold() for k in s.others}), None)
    return Person(person.number, (*person.others, *same.others), same.name or person.name) if same else person


def clashing(ids: dict[str, str]) -> set[str]:
    """Return the numbers of those whose ids fall together, here or on a disk that does not know case."""
    found: set[str] = set()
    while True:
        now = {number: number if number in found else student for number, student in ids.items()}
        times: dict[str, int] = {}
        for student in now.values():
            times[student.casefold()] = times.get(student.casefold(), 0) + 1
        more = {
            number for number, student in now.items() if times[student.casefold()] > 1 and student != number
        }
        if not more:
            return found
        found |= more


def names(person: Person) -> dict[str, str | None]:
    """Return what the gradebook keeps of a person: "Doe, Jane" or "Jane Doe", and an address."""
    last, comma, first = person.name.partition(",")
    if not comma:
        first, _, last = person.name.rpartition(" ")
    email = next((each for each in person.others if "@" in each), None)
    return {
        "first_name": harmless(first.strip())[:128], "last_name": harmless(last.strip())[:128],
        "email": email and harmless(email)[:128],
    }  # fmt: skip
