"""Before a class is graded: whether the assignment is in order, and its own solution gets every point."""

from __future__ import annotations

import errno
import hashlib
import inspect
import itertools
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from sysconfig import get_path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import MissingEntry
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import BaseConverter, NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import IncludeHeaderFooter
from nbgrader.utils import determine_grade, find_all_files, is_grade, is_solution
from traitlets import Dict
from traitlets.config import Config, LoggingConfigurable

from ..evidence import MIME_TYPE as EVIDENCE
from ..kernels import sandbox
from ..lessons import Lesson, lesson_of
from ..verdict import MIME_TYPE
from .faults import InstallationFault, NotGraded
from .gradebook import opened
from .job import Job
from .read import grade_id
from .report import name_mistakes, stopped
from .setup import FAILS
from .submissions import Submission, assignments
from .text import suggestion

if TYPE_CHECKING:
    from .grade import Grade

Result = dict[str, str] | Exception  # of executing a Job: {notebook id: JSON}
Run = Callable[[Iterable[Job]], Iterable[tuple[Job, Result]]]

PACKAGE = Path(__file__).parent.parent
# Sections of the configuration that say whom to grade, where and how loudly, and change no grade.
NO_MATTER = (
    "Application", "JupyterApp", "NbGrader", "NbGraderApp", "CourseDirectory", "BaseConverter", "Grade",
    "GradeClass", "AutogradeApp", "ExportApp", "GenerateAssignment", "GenerateFeedback", "SolutionCheck",
)  # fmt: skip
# Files of the package that turn evidence into what is read of it, beside those of a lesson.
JUDGES = (
    "rule.py", "verdict.py", "score.py", "report.py", "page.py", "marks.py", "rubrics.py", "reflections.*",
    "numbers.py", "by_hand.py",
)  # fmt: skip


class SolutionCheck(LoggingConfigurable):
    """What the solution must get before anybody is graded."""

    expected = Dict(
        {}, help="Points, by test cell, where the solution misses some on purpose: {'test_x': 1.5}."
    ).tag(config=True)


# --- The key


def key(course: CourseDirectory, config: Config, judging: bool = True) -> str:
    """Return a digest of what every grade in a class depends on: assignment, package, configuration.

    judging: whether what reaches a verdict when the code has run counts, too.
    """
    digest, used = hashlib.sha256(), lessons(course)
    judges = () if judging else (*JUDGES, *(name for lesson in used for name in lesson.judges))
    for step in (course.source_directory, course.release_directory):
        add_folder(digest, course.format_path(step, ".", course.assignment_id), course.ignore)
    add_folder(digest, PACKAGE, ["__pycache__", "data", "course", *judges])
    for path in sorted({path for lesson in used for path in lesson.files}):
        add_folder(digest, path, ["__pycache__", "build", "*.png", "*.md", "*.py"])
    settings = sorted(item for item in os.environ.items() if item[0].startswith("LESSON_"))
    digest.update(json.dumps(settings).encode())
    besides = NO_MATTER if judging else (*NO_MATTER, "ScoreCells")
    counts = {name: section for name, section in config.items() if name not in besides}
    digest.update(json.dumps(counts, sort_keys=True, default=describe).encode())
    return digest.hexdigest()


def lessons(course: CourseDirectory) -> list[Lesson]:
    """Return the lessons of an assignment's notebooks. Raises InstallationFault where one is not there."""
    folder = Path(course.format_path(course.source_directory, ".", course.assignment_id))
    try:
        return [lesson_of(nbformat.read(path, as_version=4)) for path in sorted(folder.glob("*.ipynb"))]
    except LookupError as error:
        raise InstallationFault(str(error)) from None


def environment() -> str:
    """Return what else decides whether a solution gets its points: the machine, and what is installed."""
    installed = sorted(path.name for path in Path(get_path("purelib")).glob("*.dist-info"))
    return f"{platform.node()} {sys.prefix} {sandbox.missing()} {' '.join(installed)}"


def add_folder(digest: hashlib._Hash, folder: str | Path, ignore: Sequence[str]) -> None:
    """Add the names and contents of a folder's files, or of one file, to a digest."""
    for path in [folder] if os.path.isfile(folder) else sorted(find_all_files(str(folder), ignore)):
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        digest.update(f"{os.path.relpath(path, folder)}\0{content}\n".encode(errors="surrogateescape"))


def describe(value: Any) -> str:
    """Return what a class or a function in the configuration does, as text, or the value's own words."""
    try:
        return f"{value.__module__}.{value.__qualname__} {inspect.getsource(value)}"
    except (AttributeError, OSError, TypeError):
        return getattr(value, "__qualname__", None) or repr(value)


# --- The check


def must_run(course: CourseDirectory, config: Config) -> None:
    """Raise InstallationFault if there is no such assignment, if this is another course's environment, or if
    cells are not to be run."""
    must_be_here(course)
    must_exist(course)
    if not config.Execute.get("enabled", True):
        raise InstallationFault(
            "Without running the notebooks there is nothing to grade: leave --no-execute out. To have a look "
            "at what was handed in, open submitted/ in JupyterLab."
        )
    if why := sandbox.missing():
        print(f"No sandbox, because {why}: what runs can read, change and send whatever you can.")


def must_be_here(course: CourseDirectory) -> None:
    """Raise InstallationFault if the course is a checkout, and the package in use is another's."""
    own = Path(course.root, PACKAGE.name)
    if not (own / "__init__.py").exists():
        return
    # As kernels find it: nbgrader has the course's folder on its own path, whatever is installed.
    ask = [sys.executable, "-P", "-c", f"import {PACKAGE.name}; print({PACKAGE.name}.__file__)"]
    found = subprocess.run(ask, cwd=os.sep, capture_output=True, text=True).stdout.strip()
    if not found or not own.samefile(Path(found).parent):
        raise InstallationFault(
            f"The package in use is {found and Path(found).parent or 'not installed'}, and this course has "
            f"its own in {own}: activate the course's environment (source .venv/bin/activate)."
        )


def check(grade: Grade, run: Run) -> dict[str, dict[str, str]]:
    """Return the solution's evidence, {notebook: {grade id: evidence}}; submissions are compared with it.

    Raises InstallationFault unless everything that grading needs is there and the solution gets its points.

    run: the very way that submissions go. What is missing and can be made is made: the released
    notebook, and what the gradebook knows of the assignment.
    """
    with TemporaryDirectory(prefix="solution-") as folder:
        made = elsewhere(grade, folder)
        generate(grade, made)
        evidence = must_solve(grade, made, run)
        must_be_released(grade.course, made)
        must_be_known(grade, made)
    return evidence


def elsewhere(converter: BaseConverter, folder: str) -> CourseDirectory:
    """Return a course of the same sources; everything that is made of them lies in `folder`."""
    course = getattr(converter, "course", converter.coursedir)
    return CourseDirectory(
        parent=converter.parent, root=course.root, assignment_id=course.assignment_id,
        db_url=f"sqlite:///{folder}/gradebook.db",
        **{f"{step}_directory": f"{folder}/{step}" for step in ("release", "submitted", "autograded")},
    )  # fmt: skip


def must_exist(course: CourseDirectory) -> None:
    """Raise InstallationFault if there is no such assignment."""
    folder = Path(course.format_path(course.source_directory, ".", course.assignment_id))
    if not list(folder.glob("*.ipynb")):
        raise InstallationFault(
            f"There is no assignment `{course.assignment_id}` in {course.source_directory}/"
            + suggestion(course.assignment_id, assignments(course), least=0)
        )


def generate(converter: BaseConverter, course: CourseDirectory) -> None:
    """Do what `nbgrader generate_assignment` does, in `course`. Raises InstallationFault if that fails."""
    log, name = converter.parent.log, course.assignment_id
    level = log.level
    log.setLevel(logging.CRITICAL)  # its tracebacks say less than the sentence
    try:
        GenerateAssignment(coursedir=course, parent=converter.parent).start()
    except (NbGraderException, SystemExit):
        if shutil.disk_usage(tempfile.gettempdir()).free < 2**20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise InstallationFault(
            f"No assignment can be made from {course.source_directory}/{name}: "
            f"`nbgrader generate_assignment {name}` says why."
        ) from None
    finally:
        log.setLevel(level)


def must_solve(grade: Grade, made: CourseDirectory, run: Run) -> dict[str, dict[str, str]]:
    """Return the solution's evidence. Raises InstallationFault if it does not get the points that it must."""
    source = Path(grade.course.format_path(grade.course.source_directory, ".", grade.assignment))
    solution = {path.name: generated(path, grade.parent) for path in sorted(source.glob("*.ipynb"))}
    job = type(grade)(coursedir=made, parent=grade.parent).job(Submission("the solution", solution))
    ((_, result),) = run([job])
    if isinstance(result, Exception):
        said = (
            result
            if isinstance(result, (InstallationFault, NotGraded))
            else f"{type(result).__name__}: {result}"
        )
        raise InstallationFault(f"The solution cannot be graded: {said}")
    expected = SolutionCheck(parent=grade.parent).expected
    lost = []
    evidence: dict[str, dict[str, str]] = {}
    for name, text in result.items():
        notebook = nbformat.reads(text, as_version=4)
        evidence[name] = evidence_of(notebook)
        for cell in notebook.cells:
            if is_grade(cell) and not is_solution(cell) and cell.cell_type == "code":
                points, most = determine_grade(cell)
                wanted = expected.get(cell.metadata.nbgrader["grade_id"], most)
                if points != wanted:
                    lost.append((cell, points, wanted, f"{source / name}.ipynb", notebook))
    if lost:
        cell, points, wanted, path, notebook = lost[0]
        if points > wanted:
            raise InstallationFault(
                f"`{grade_id(cell)}`: the solution gets {points:g} points, and c.SolutionCheck.expected in "
                f"nbgrader_config.py says {wanted:g}: change it there."
            )
        names = ", ".join(f"`{grade_id(other)}`" for other, *_ in lost[1:])
        raise InstallationFault(
            f"`{grade_id(cell)}`: the solution gets {points:g} of {wanted:g} points, because "
            f"{because(cell, notebook)} Look at {os.path.relpath(path, grade.course.root)}"
            + (f" (it loses points in {names}, too)." if names else ".")
        )
    return evidence


def evidence_of(notebook: NotebookNode) -> dict[str, str]:
    """Return {grade id: evidence} of a notebook's test cells, those that left any."""
    return {
        grade_id(cell) or "": output.data[EVIDENCE]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if EVIDENCE in output.get("data", {})
    }


def generated(path: Path, parent: Any) -> bytes:
    """Return a source notebook with the header and footer that `nbgrader generate_assignment` gives it."""
    around = IncludeHeaderFooter(parent=parent)
    if not (around.header or around.footer):
        return path.read_bytes()
    notebook, _ = around.preprocess(nbformat.read(path, as_version=4), ResourcesDict())
    return nbformat.writes(notebook).encode()


def because(cell: NotebookNode, notebook: NotebookNode) -> str:
    """Return why a test cell of a notebook gave less than all points, as the end of a sentence."""
    for output in cell.outputs:
        for finding in output.get("data", {}).get(MIME_TYPE, {}).get("findings", []):
            return f"it finds: {finding['observed']} Expected: {finding['expected']}"
    for other in itertools.takewhile(lambda other: other is not cell, notebook.cells):
        errors = [output for output in other.get("outputs", []) if output.output_type == "error"]
        if errors and not is_grade(other) and FAILS not in other.metadata.get("tags", []):
            name = grade_id(other) or other.source.strip().split("\n")[0][:60]
            return f"{stopped(name, errors[0])}."
    alone = nbformat.v4.new_notebook(cells=[cell])
    return f"it ends with: {' '.join(name_mistakes(alone)) or 'no reason given.'}"


def must_be_released(course: CourseDirectory, made: CourseDirectory) -> None:
    """Have the assignment released; raise InstallationFault if what students got is of another source."""
    name = course.assignment_id
    folder = Path(made.format_path(made.release_directory, ".", name))
    source = course.format_path(course.source_directory, ".", name)
    for path in sorted(folder.glob("*.ipynb")):
        released = Path(course.format_path(course.release_directory, ".", name), path.name)
        if not released.exists():
            released.parent.mkdir(parents=True, exist_ok=True)
            released.write_bytes(path.read_bytes())
        elif not is_same(released, path, ids=has_ids(Path(source, path.name))):
            raise InstallationFault(
                f"{course.source_directory}/{name}/{path.name} has changed since "
                f"{os.path.relpath(released, course.root)} was made from it: "
                f"run `nbgrader generate_assignment {name}`, and grade again."
            )


def has_ids(path: Path) -> bool:
    """Whether a notebook's cells have ids of their own; else each reading draws new ones."""
    try:
        return all("id" in cell for cell in json.loads(path.read_bytes())["cells"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_same(*paths: Path, ids: bool = True) -> bool:
    """Whether released notebooks agree in all that counts; a damaged one does not."""
    try:
        found = [nbformat.read(path, as_version=4).cells for path in paths]
    except Exception:
        return False
    one, other = (
        [(c.cell_type, c.source, c.metadata.get("nbgrader"), ids and c.get("id")) for c in cells]
        for cells in found
    )
    return one == other


def must_be_known(grade: Grade, made: CourseDirectory) -> None:
    """Have the gradebook know the assignment as it is."""
    now = known(made)
    if known(grade.course) != now:
        must_keep_cells(grade.course, now)
        with TemporaryDirectory(prefix="release-") as folder:
            there = elsewhere(grade, folder)
            there.db_url = grade.course.db_url
            generate(grade, there)


def known(course: CourseDirectory) -> dict[tuple[str, str, str], object]:
    """Return what the gradebook knows of the assignment: {(notebook, kind, cell): what counts of it}."""
    found: dict[tuple[str, str, str], object] = {}
    with opened(course) as gradebook:
        try:
            books = gradebook.find_assignment(course.assignment_id).notebooks
        except MissingEntry:
            return found
        for book in books:
            for cell in (*book.grade_cells, *book.task_cells):
                found[book.name, "points", cell.name] = cell.max_score, cell.cell_type
            for cell in book.solution_cells:
                found[book.name, "solution", cell.name] = True
            for cell in book.source_cells:
                found[book.name, "source", cell.name] = cell.source, cell.locked, cell.cell_type
    return found


def must_keep_cells(course: CourseDirectory, now: Mapping[tuple[str, str, str], object]) -> None:
    """Raise InstallationFault if cells came or went though there are submissions in the gradebook."""
    name, before = course.assignment_id, known(course)
    changed = sorted({cell for _, _, cell in before.keys() ^ now.keys()})
    if changed and (submissions := count(course)):
        raise InstallationFault(
            f"The cell `{changed[0]}` of {name} came, went or changed its kind, and the gradebook has "
            f"{submissions} submissions of it as it was: take the change back, give the changed assignment "
            "a new name, or remove the old one with all points given by hand "
            f"(`nbgrader db assignment remove {name} --force`) and grade again."
        )


def count(course: CourseDirectory) -> int:
    """Return how many submissions of the assignment the gradebook has."""
    with opened(course) as gradebook:
        try:
            return int(gradebook.find_assignment(course.assignment_id).num_submissions)
        except MissingEntry:
            return 0


class ReleaseExporter(NotebookExporter):
    """The exporter of `nbgrader generate_assignment`, which makes it before it removes the old release."""

    def __init__(self, config: Config | None = None, parent: Any = None, **settings: Any) -> None:
        super().__init__(config=config, parent=parent, **settings)  # type: ignore[no-untyped-call]
        if isinstance(parent, GenerateAssignment) and count(parent.coursedir):
            try:
                with TemporaryDirectory(prefix="release-") as folder:
                    made = elsewhere(parent, folder)
                    generate(parent, made)
                    must_keep_cells(parent.coursedir, known(made))
            except InstallationFault as why:
                parent.log.error(str(why))
                raise SystemExit(1) from None
