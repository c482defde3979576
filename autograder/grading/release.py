"""What leaves a course: a zip for its students; and how a course comes into being."""

import json
import re
import shutil
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import nbformat

from ..kernels.sandbox import HIDDEN
from ..lessons import Lesson
from .faults import InstallationFault

PACKAGE = Path(__file__).parent.parent
PROJECT = "tinybert-fine-tuning-lesson"
STUDENTS = Path(__file__).with_name("students.md")  # README.md of the zip

CPU = "https://download.pytorch.org/whl/cpu"  # torch's own index of builds that need no graphics card

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = {name}
version = {version}
requires-python = {python}
dependencies = {dependencies}

[project.scripts]
autograder = "autograder.__main__:main"

[tool.hatch.build.targets.wheel]
packages = ["autograder"]

[tool.hatch.build.targets.wheel.shared-data]
"jupyterlab.json" = "etc/jupyter/labconfig/page_config.d/lesson.json"
"jupyter_server.json" = "etc/jupyter/jupyter_server_config.d/tinybert-lesson.json"
"""

# What nbgrader adds to JupyterLab for instructors and their exchange; its button "Validate" stays.
MENUS = ("create-assignment", "formgrader", "course-list", "assignment-list", "menu")
NEWS = "@jupyterlab/apputils-extension:announcements"  # whose question covers the first minute
JUPYTERLAB = {"disabledExtensions": {NEWS: True} | {f"@jupyter/nbgrader:{menu}": True for menu in MENUS}}

# And what stands behind them: without a course, Formgrader writes an error into the terminal. The file's name
# comes after nbgrader's own, which switches them on.
BEHIND = ("formgrader", "course_list", "assignment_list")
SERVER = {
    "ServerApp": {"jpserver_extensions": {f"nbgrader.server_extensions.{each}": False for each in BEHIND}}
}


def pack(target: str | Path, notebooks: Path, lessons: Iterable[Lesson]) -> list[str]:
    """Write the students' zip of an assignment to `target`; return the names in it.

    notebooks: the assignment's released folder; lessons: the Lessons of its notebooks. Solutions, hidden
    tests and the grading side stay with the instructor. The package and the data are those in use.
    """
    name, files = notebooks.name, {}
    for path in (*PACKAGE.glob("*.py"), *(path for each in lessons for path in each.release)):
        files[f"autograder/{path.relative_to(PACKAGE).as_posix()}"] = path
    for folder in {folder for each in lessons for folder in each.files}:
        found = [path for path in Path(folder).iterdir() if path.is_file() and path.suffix != ".py"]
        files |= {f"data/{path.parent.name}/{path.name}": path for path in found}
    released = sorted(notebooks.glob("*.ipynb"))
    files |= {f"notebooks/{name}/{path.name}": path for path in released}
    texts = {
        "README.md": readme(name, released[0].name),
        "pyproject.toml": pyproject(),
        "constraints.txt": (template() / "constraints.txt").read_text(),
        "jupyterlab.json": json.dumps(JUPYTERLAB, indent=4) + "\n",
        "jupyter_server.json": json.dumps(SERVER, indent=4) + "\n",
        "LICENSE": distribution(PROJECT).read_text("licenses/LICENSE") or "",
    }
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for inside, text in texts.items():
            archive.writestr(f"{name}/{inside}", text)
        for inside, path in sorted(files.items()):
            archive.write(path, f"{name}/{inside}")
        return archive.namelist()


def was_run(path: Path) -> bool:
    """Whether a notebook has been run since it was made."""
    try:
        return any(cell.get("execution_count") for cell in nbformat.read(path, as_version=4).cells)
    except (OSError, ValueError):  # nbformat's error for what is no notebook is one
        return False


def readme(name: str, notebook: str) -> str:
    """Return what students read first: how the zip of the assignment `name` is installed and used.

    notebook: a file's name, for the command that checks it.
    """
    oldest, after = sorted(
        map(int, re.findall(r"3\.(\d+)", distribution(PROJECT).metadata["Requires-Python"]))
    )
    text = STUDENTS.read_text(encoding="utf-8")
    return text.format(name=name, notebook=notebook, cpu=CPU, oldest=f"3.{oldest}", newest=f"3.{after - 1}")


def pyproject() -> str:
    """Return the students' pyproject.toml: what they install, and nothing of what grading needs."""
    project = distribution(PROJECT)
    needs = [need for need in project.requires or () if "extra ==" not in need]
    about = {"name": PROJECT, "version": project.version, "python": project.metadata["Requires-Python"]}
    return PYPROJECT.format(
        **{name: json.dumps(value) for name, value in about.items()}, dependencies=json.dumps(needs, indent=4)
    )


def template() -> Path:
    """Return the folder that a course is made from: a wheel carries one, a clone is its own."""
    return Path(HIDDEN) if Path(HIDDEN).exists() else PACKAGE.parent


def new_course(folder: Path) -> None:
    """Make a course: configuration and source notebook. Raises InstallationFault if something is there."""
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise InstallationFault(f"{folder} is there already: name a new folder.")
    shutil.copytree(template() / "solutions", folder / "solutions", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(template() / "nbgrader_config.py", folder)
