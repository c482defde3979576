"""A download from Canvas, Moodle or Gradescope: whose each of its files is.

How the systems name files:

- Canvas, ContentZipper#get_filename in canvas-lms (lib/content_zipper.rb):
  doejane_LATE_12345_678901_hw.ipynb, which is the sortable name, the mark, the user's id, the file's id and
  the name that the student's file has in Canvas; that ends in -1, -2, … if it was handed in again.
  Anonymous: anon_AbC12 in place of name and id. Text and addresses: doejane_12345_text.html, _link.html.
- Moodle, load_submissionplugin_filelist in moodle (mod/assign/classes/downloader.php):
  "Jane Doe_123456_assignsubmission_file_/hw.ipynb", or without folders
  "Jane Doe_123456_assignsubmission_file_hw.ipynb", with the number of the participant in this assignment,
  and assignsubmission_onlinetext for text. There are no underscores in names.
- Gradescope, Export Submissions: assignment_123_export/submission_987654/hw.ipynb, and
  assignment_123_export/submission_metadata.yml, which has :submitters: (:name:, :sid:, :email:) and
  :created_at: of each folder. Gradescope does not describe it; the programs that read it agree, and so does
  its twin, https://gradescope-autograders.readthedocs.io/en/latest/submission_metadata/.

Students choose their names, in part their addresses, and the names of their files. So a file belongs to whom
the part of its path says that the system wrote, never to whom a later part says.
"""

import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from .faults import InstallationFault
from .lms import CANVAS, MOODLE, Person, Sheet, System
from .submissions import TIMESTAMP
from .text import harmless

CANVAS_IDS = re.compile(r"(_LATE)?_([0-9]+|anon_[A-Za-z0-9]+)_([0-9]+)_(?=.)", re.DOTALL)
CANVAS_TEXT = re.compile(r".+?(?:_LATE)?_([0-9]+)_(?:text|link)\.html")
MOODLE_MARK = "_assignsubmission_"
MOODLE_PART = re.compile(rf"([^_]*)_([0-9]+){MOODLE_MARK}([a-z]+)(?:_(.*))?", re.DOTALL)
METADATA = "submission_metadata.yml"
USABLE = re.compile(r"[^\W_][\w.@+-]{0,99}")  # as a student's id, and so as a folder's name
AGAIN = re.compile(r"-[0-9]+(?=\.ipynb$)")
LONGEST = 200  # bytes of a file's name; most systems take 255
MOST = 2**30  # bytes of a file that are looked at
BROKEN = (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)  # of a damaged zip


@dataclass(frozen=True)
class File:
    """A file in the download: its path there, and how to read so many of its bytes at most."""

    path: str
    read: Callable[[int], bytes]

    @property
    def parts(self) -> list[str]:
        return re.split(r"[/\\]", self.path)


@dataclass(frozen=True)
class Handed:
    """A file that a student handed in, or that the system wrote of a text (`own` is "")."""

    file: File
    person: Person
    own: str  # its path, as the student named it
    system: System | None = None  # None: Gradescope, which has no grade file of its own
    file_number: int = 0  # larger for a newer file, where the system counts them
    attempt: str = ""  # larger for a newer attempt, where the system tells them apart
    time: str = ""  # when it was handed in, as nbgrader writes it
    late: bool = False
    unsure: bool = False  # another student may have handed it in

    @property
    def student(self) -> str:
        return f"{self.person.name} ({self.person.number})" if self.person.name else self.person.number


Submitters = dict[tuple[str, ...], tuple[list[Person], str]]  # by the parts of the path that Gradescope wrote


def download(place: Path, stack: ExitStack) -> Iterator[list[File]]:
    """Yield the files of each archive, and of each folder, in `place`; zips stay open as long as `stack`.

    Raises InstallationFault if an archive cannot be read.
    """
    loose = []
    for path in sorted(place.iterdir()):
        if path.is_dir():
            files = (p for p in sorted(path.rglob("*")) if p.is_file() and not p.is_symlink())
            yield [File(p.relative_to(place).as_posix(), reader(p.open, "rb")) for p in files]
        elif path.suffix.lower() == ".zip":
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
            except BROKEN:
                raise InstallationFault(
                    f"`{path.name}` is no zip, or is damaged: download it again."
                ) from None
            yield [File(i.filename, reader(archive.open, i)) for i in archive.infolist() if not i.is_dir()]
        elif path.suffix.lower() in (".gz", ".tar", ".tgz", ".7z", ".rar"):
            raise InstallationFault(f"`{path.name}` is no zip: unpack it there, and take it away.")
        elif path.suffix.lower() != ".csv":
            loose.append(File(path.name, reader(path.open, "rb")))
    yield loose


def reader(start: Callable[..., Any], *arguments: Any) -> Callable[[int], bytes]:
    """Return a function that opens a file and returns so many of its bytes."""

    def read(most: int) -> bytes:
        with start(*arguments) as file:
            return file.read(most)

    return read


# --- Whose a file is


def whose(file: File, submitters: Submitters, released: set[str], sheet: Sheet | None) -> list[Handed]:
    """Return what a file is, once for each who handed it in; nothing if its path does not say so.

    submitters: of Gradescope, see `metadata`; released: the assignment's own notebooks; sheet: a grade file.
    """
    if any(MOODLE_MARK in part for part in file.parts):
        return [*moodle(file)]
    return [*gradescope(file, submitters)] or [*canvas(file, released, sheet)]


def canvas(file: File, released: set[str], sheet: Sheet | None) -> Iterator[Handed]:
    """Yield what a file of Canvas's is, if its name says so.

    A name may be read in several ways, if a student's name, or the name of their file, holds numbers. The
    grade file decides. Without it the first way is taken, as students call their files as they like.
    """
    if len(file.parts) > 2:
        return
    name = file.parts[-1]
    if match := CANVAS_TEXT.fullmatch(name):
        yield Handed(file, Person(match[1]), "", CANVAS)
        return
    by_number = sheet.by_number if sheet and sheet.system is CANVAS else {}
    name, readings = f"_{name}", []  # an anonymous file starts with its id
    for match in (CANVAS_IDS.match(name, k) for k in range(len(name)) if name[k] == "_"):
        before = name[1 : match.start()] if match else ""
        if not match or f"_{before}".endswith("_LATE") or match.start() == 0 and match[2].isdigit():
            continue
        late, number, file_number = match.groups()
        own = name[match.end() :]
        own = AGAIN.sub("", own) if AGAIN.sub("", own) in released else own
        called = by_number[number].name.lower() if number in by_number else ""
        handed = Handed(
            file, Person(number), fitting([own]), CANVAS, file_number=int(file_number[:30]), late=bool(late)
        )
        if re.sub(r"\W", "", called) == before and called:
            yield handed
            return
        readings.append((handed, own in released))
    if readings:
        handed, _ = readings[0]
        yield replace(handed, unsure=any(fits for _, fits in readings[1:]))


def moodle(file: File) -> Iterator[Handed]:
    """Yield what a file of Moodle's is, if the first part that looks like Moodle's says so."""
    k = next(k for k, part in enumerate(file.parts) if MOODLE_MARK in part)
    if k < 2 and (match := MOODLE_PART.fullmatch(file.parts[k])):
        name, number, kind, rest = match.groups()
        own = file.parts[k + 1 :] or [rest or ""]
        yield Handed(file, Person(number, name=name), fitting(own) if kind == "file" else "", MOODLE)


def metadata(files: list[File]) -> Submitters:
    """Return who handed in what when, by Gradescope. Raises InstallationFault if its file cannot be read."""
    import yaml  # of an instructor's installation

    found: Submitters = {}
    for file in files:
        *above, name = file.parts
        if name != METADATA or len(above) > 1 or any(MOODLE_MARK in part for part in above):
            continue
        try:
            for key, about in yaml.load(
                file.read(MOST), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            ).items():
                people = [submitter(each, str(key)) for each in about[":submitters"]]
                found[(*above, str(key))] = people, utc(about.get(":created_at"))
        except (*BROKEN, yaml.YAMLError, AttributeError, LookupError, TypeError) as error:
            why = type(error).__name__
            raise InstallationFault(
                f"`{file.path}` cannot be read ({why}): export from Gradescope again."
            ) from None
    return found


def submitter(about: dict[str, Any], key: str) -> Person:
    """Return one who handed in a submission; without an id that may be a folder's name, its key is taken."""
    ids = tuple(str(about[name]).strip() for name in (":email", ":sid") if about.get(name))
    ids = tuple(each.lower() if "@" in each else each for each in ids)
    return Person(next(filter(usable, (*ids, key))), ids, str(about.get(":name") or ""))


def utc(when: object) -> str:
    """Return a time as nbgrader writes it, "" if it is none."""
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day) if isinstance(when, date) else None
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC" if when else ""


def gradescope(file: File, submitters: Submitters) -> Iterator[Handed]:
    """Yield what a file of Gradescope's is, once for each of a group, if it is in a known submission."""
    for length in (1, 2):
        key = tuple(file.parts[:length])
        people, time = submitters.get(key, ((), ""))
        own = file.parts[length:] or file.parts[-1:]
        for person in people:
            yield Handed(file, person, fitting(own), attempt=f"{time} {key[-1]}", time=time)


def fitting(parts: Iterable[str]) -> str:
    """Return a path made of a student's names, cut and cleaned so that it can be written anywhere.

    A time stamp is the system's to give: one that was handed in is called something else.
    """
    found = []
    for part in parts:
        part = re.sub(r'[\x00-\x1f\x7f<>:"|?*/\\]', "_", harmless(part)).strip() or "_"
        name, dot, kind = part.rpartition(".")
        kind = dot + kind if name and len(kind) < 20 else ""
        room = LONGEST - len(kind.encode())
        found.append(part.removesuffix(kind).encode()[:room].decode(errors="ignore") + kind)
    return f"handed-in-{TIMESTAMP}" if [part.lower() for part in found] == [TIMESTAMP] else "/".join(found)


def usable(key: str) -> bool:
    return bool(USABLE.fullmatch(key))
