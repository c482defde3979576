"""Receive what was submitted: regular files as bytes, of a size that is known, and nothing by way of a link.

Everything that grading does with a submission starts from what is received here; the folder that a
student made is not opened again.
"""

import difflib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from glob import escape, glob
from pathlib import Path

from dateutil.parser import parse
from dateutil.tz import gettz
from nbformat import NotebookNode
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import parse_utc

from ..lessons import KEY
from .faults import NotGraded
from .read import read
from .restore import answered, carries

Notebooks = dict[str, NotebookNode]  # by name

STUDENT = "{student_id}"
TIMESTAMP = "timestamp.txt"
NOTEBOOK = ".ipynb"
MOST_FILES = 1000
LONGEST = 500  # characters of a path in the submission; a system takes a few thousand in all
SPECIAL = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

MENDED = {"too large": "clear its largest outputs", "cannot be read": "change its rights"}


@dataclass
class Submission:
    """What one student handed in."""

    student: str
    files: dict[str, bytes] = field(default_factory=dict)  # by path in the folder
    refused: dict[str, str] = field(default_factory=dict)  # the same: why it was left out
    remarks: list[str] = field(default_factory=list)  # sentences for the instructor

    def digest(self) -> str:
        """Return a digest of everything that was received, and of what was left out."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode(errors="surrogateescape"))
        for name, why in sorted(self.refused.items()):
            digest.update(f"{name}\0{why}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def folders(course: CourseDirectory, assignment: str, step: str | None = None) -> dict[str, Path]:
    """Return {student: Path} of every student with something in a step of the course, in order of names.

    No glob pattern: it would take brackets in a name for its own. step: a directory such as the
    autograded one; by default the submitted one. What stands at the Path may be no folder, or nobody
    may read it. Where something submitted has missed its place, nothing stands there.
    """
    step = step or course.submitted_directory
    parts = Path(course.directory_structure).parts
    place = next(k for k, part in enumerate(parts) if STUDENT in part)
    names = {"nbgrader_step": step, "assignment_id": assignment}
    above = Path(course.root, *(part.format(**names) for part in parts[:place]))
    below = Path(*(part.format(**names, student_id="") for part in parts[place + 1 :]))
    pattern = parts[place].replace(STUDENT, "\0").format(**names)
    named = re.compile(re.escape(pattern).replace("\0", "(.+)"), re.DOTALL)
    found = {}
    for name in sorted(os.listdir(above)) if above.is_dir() else []:
        student = named.fullmatch(name)
        if student and not name.startswith("."):
            path = above / name / below
            if is_there(path) or step == course.submitted_directory and missed(course, path):
                found[student.group(1)] = path
    return found


def missed(course: CourseDirectory, path: Path) -> str | None:
    """Say what was probably meant to stand at `path`, where nothing does; None if there is no such thing."""
    place, known = os.path.relpath(path, course.root), assignments(course)
    if path.parent.is_file():  # among the students' folders
        name = path.parent.name
        return f"`{name}` is in no student's folder: move it to one." if is_notebook(name) else None
    try:
        there = {other.name: other for other in sorted(path.parent.iterdir())}
    except OSError:
        return None
    if path.name in there:  # and cannot be looked at
        return None
    others = {name: other for name, other in there.items() if name not in known}
    by_letters = {name.casefold(): name for name in others}
    near = difflib.get_close_matches(path.name.casefold(), by_letters, 1, 0.8)
    names = [by_letters[name] for name in near]
    if not known & there.keys():  # no stat: it may be refused
        names += [
            name
            for name, other in others.items()
            if is_notebook(name) or glob(f"{escape(str(other))}/*{NOTEBOOK}")
        ]
    return f"There is no {place}, but there is `{names[0]}` beside it: move or rename it." if names else None


def assignments(course: CourseDirectory) -> set[str]:
    """Return the names of a course's assignments."""
    pattern = course.format_path(course.source_directory, ".", "*")
    return {path.parent.name for path in Path(pattern).parent.glob("*/*.ipynb")}


def is_there(path: Path) -> bool:
    """Whether something is there, be it that nobody may look."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def receive(student: str, folder: Path, course: CourseDirectory) -> Submission:
    """Return what is in a folder. Raises NotGraded where there is no folder that can be read."""
    submission = Submission(student)
    top = Path(course.root, course.submitted_directory)
    try:
        for part in (folder, *folder.parents):
            if part in (top, Path(course.root)):
                break
            if stat.S_ISLNK(os.lstat(part).st_mode):
                raise NotGraded(f"`{part.name}` is a link, which is not followed: copy the folder.")
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise NotGraded("There is a file where the folder of the assignment should be.")
    except OSError as error:
        if why := missed(course, folder):
            raise NotGraded(why) from None
        raise NotGraded(f"The folder cannot be read ({error.strerror}): change its rights.") from None
    take(submission, folder, "", course)
    if "" in submission.refused:
        raise NotGraded(f"The folder {submission.refused['']}: change its rights.")
    know_time(submission)
    return submission


def take(submission: Submission, folder: Path, prefix: str, course: CourseDirectory) -> None:
    """Add the files in a folder, and in those below it, to the submission."""
    try:
        names = sorted(os.listdir(folder), key=lambda name: (not is_notebook(name), name))  # they come first
    except OSError as error:
        submission.refused[prefix.rstrip("/")] = f"cannot be read ({error.strerror})"
        return
    for name in names:
        path = prefix + name
        if any(fnmatch(name, pattern) for pattern in course.ignore):
            continue
        room = course.max_dir_size * 1000 - sum(map(len, submission.files.values()))
        try:
            mode = os.lstat(folder / name).st_mode
            if len(path) > LONGEST:
                submission.refused[f"{path[:60]}…"] = "has too long a name"
            elif stat.S_ISDIR(mode):
                take(submission, folder / name, f"{path}/", course)
            elif not stat.S_ISREG(mode):
                submission.refused[path] = f"is {SPECIAL.get(stat.S_IFMT(mode), 'no file')}"
            elif len(submission.files) >= MOST_FILES:
                submission.refused[path] = f"is one of more than {MOST_FILES} files"
            else:
                submission.files[path] = content(folder / name, min(course.max_file_size * 1000, room))
        except OSError as error:
            submission.refused[path] = f"cannot be read ({error.strerror})"
        except OverflowError:
            submission.refused[path] = "is too large"


def content(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file. Raises OverflowError if there are more than `most`."""
    # Whatever has taken the file's place since it was looked at: nobody waits for it or follows it.
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))  # POSIX; Windows
    with open(os.open(path, os.O_RDONLY | flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        found = file.read(most + 1)
    if len(found) > most:
        raise OverflowError
    return found


def know_time(submission: Submission) -> None:
    """Have the time stamp as nbgrader reads it, or not at all: it stops at one that holds no time."""
    said = submission.files.pop(TIMESTAMP, b"")
    if TIMESTAMP not in submission.refused and not said.strip(b"\xef\xbb\xbf \r\n\t\0"):
        return
    try:
        text = said.decode("utf-16" if said[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")[:100]
        # Not nbgrader's parse_utc, to which +0200 is two hundred seconds.
        when = parse(text.strip(), tzinfos=lambda name, offset: gettz(name) if offset is None else offset)
        submission.files[TIMESTAMP] = f"{parse_utc(when).isoformat(' ')} UTC".encode()
    except Exception:  # dateutil raises whatever a text makes it raise
        submission.remarks.append(f"When it was submitted is unknown: `{TIMESTAMP}` holds no time.")


def notebooks(submission: Submission, releases: Notebooks) -> Notebooks:
    """Take the assignment's notebooks out of a submission's files; return them, read.

    A notebook under another name is taken for the one whose cells it carries, where there is no other
    choice to make. Raises NotGraded where nothing can be graded.
    """
    paths, damaged = [*submission.files], {}
    found: Notebooks = {}
    others: Notebooks = {}  # by path
    for path in filter(is_notebook, paths):
        content = submission.files.pop(path)
        name = path[: -len(NOTEBOOK)]
        try:
            if "/" not in path:  # those in folders, such as copies that an editor keeps, are no answers
                is_named = f"{name}{NOTEBOOK}" == path and name in releases
                (found if is_named else others)[name if is_named else path] = read(content)
        except NotGraded as reason:
            damaged[path] = str(reason)
    for name, release in releases.items():
        path = f"{name}{NOTEBOOK}"
        if path in submission.refused:
            why = submission.refused[path]
            mend = next((mend for part, mend in MENDED.items() if part in why), "hand in the file itself")
            raise NotGraded(f"`{path}` {why}: {mend}.")
        is_done = name in found and answered(release, found[name])
        choice = {} if is_done else candidates(release, others, name not in found)
        if len(choice) > 1:
            listed = ", ".join(f"`{other}`" for other in sorted(choice))
            raise NotGraded(f"Which of {listed} counts? Leave one, as `{path}`.")
        for other in choice:
            state = "cannot be read" if path in damaged else "is as it was handed out"
            why = state if name in found or path in damaged else "is not there"
            submission.remarks.append(f"Graded from `{other}`: `{path}` {why}.")
            found[name] = others.pop(other)
        if path in damaged and name not in found:
            raise NotGraded(f"`{path}`: {damaged[path]}")
    if not found:
        raise NotGraded(nothing(submission, f"{next(iter(releases))}{NOTEBOOK}", paths, others, damaged))
    submission.remarks += [
        f"`{path}` holds answers, too, and was not graded."
        for path, other in others.items()
        if any(carries(release, other) and answered(release, other) for release in releases.values())
        and sources(other) not in map(sources, found.values())
    ]
    submission.remarks += left_out(submission)
    return found


def candidates(release: NotebookNode, others: Notebooks, is_missing: bool) -> Notebooks:
    """Return those of other notebooks that may be the answer: written ones, each once, or untouched ones."""
    alike = {path: other for path, other in sorted(others.items()) if carries(release, other)}
    written = {path: other for path, other in alike.items() if answered(release, other)}
    chosen = written or (alike if is_missing else {})
    once = {sources(other): path for path, other in reversed(chosen.items())}
    return {path: others[path] for path in once.values()}


def sources(notebook: NotebookNode) -> tuple[str, ...]:
    return tuple(cell.source for cell in notebook.cells)


def is_notebook(path: str) -> bool:
    """Whether a file is called like a notebook, or as browsers save one."""
    return path.lower().endswith((NOTEBOOK, f"{NOTEBOOK}.txt", f"{NOTEBOOK}.json"))


def nothing(
    submission: Submission, name: str, paths: list[str], others: Collection[str], damaged: dict[str, str]
) -> str:
    """Say why there is no notebook to grade. paths: of all files; others, damaged: of other notebooks."""
    left = sorted({*paths, *submission.refused} - {TIMESTAMP})
    if any(path.startswith(f"{name}/") for path in left):
        return f"`{name}` is a folder: hand in the notebook itself."
    if damaged:
        return f"There is no `{name}`, and `{min(damaged)}`: {damaged[min(damaged)]}"
    if others:
        return f"There is no `{name}`, and `{min(others)}` is no notebook of this assignment."
    if not left:
        return "The folder is empty: nothing was submitted."
    packed = [path for path in left if path.lower().endswith((".zip", ".gz", ".tar", ".7z", ".rar"))]
    nested = [path for path in left if is_notebook(path)]
    only, what = next(
        (choice[0], what)
        for choice, what in ((nested, "move it up"), (packed, "unpack it"), (left, "add the notebook"))
        if choice
    )
    return f"There is no `{name}`, only `{only}`: {what} and grade again."


def left_out(submission: Submission) -> list[str]:
    """Return remarks on the files that were left out, the first few by name."""
    said = [f"`{path}` {why}: it was left out." for path, why in sorted(submission.refused.items())]
    return said[:3] + ([f"{len(said) - 3} more files were left out."] if len(said) > 3 else [])


def remark(notebook: NotebookNode, remarks: Iterable[str]) -> None:
    """Put remarks before those that reading and restoring a notebook left in it."""
    notes = notebook.metadata.setdefault(KEY, {})
    notes["remarks"] = [*remarks, *notes.get("remarks", [])]
