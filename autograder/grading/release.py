"""What leaves a course: a zip for its students; and how a course comes into being."""

import json
import shutil
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from ..kernels.sandbox import HIDDEN
from ..lessons import Lesson
from .faults import InstallationFault

PACKAGE = Path(__file__).parent.parent
PROJECT = "tinybert-fine-tuning-lesson"

README = """\
# {name}

    python -m venv .venv
    .venv/bin/pip install -e .
    .venv/bin/jupyter lab notebooks/{name}

On Windows the programs are in `.venv\\Scripts`. Python 3.11 or newer; no network is needed
once it is installed. Hand in the notebook, under its own name.
"""

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = {name}
version = {version}
requires-python = {python}
dependencies = {dependencies}

[tool.hatch.build.targets.wheel]
packages = ["autograder"]
"""


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
    files |= {f"notebooks/{name}/{path.name}": path for path in notebooks.glob("*.ipynb")}
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/README.md", README.format(name=name))
        archive.writestr(f"{name}/pyproject.toml", pyproject())
        archive.writestr(f"{name}/LICENSE", distribution(PROJECT).read_text("licenses/LICENSE") or "")
        for inside, path in sorted(files.items()):
            archive.write(path, f"{name}/{inside}")
        return archive.namelist()


def pyproject() -> str:
    """Return the students' pyproject.toml: what they install, and nothing of what grading needs."""
    project = distribution(PROJECT)
    needs = [need for need in project.requires or () if "extra ==" not in need]
    about = {"name": PROJECT, "version": project.version, "python": project.metadata["Requires-Python"]}
    return PYPROJECT.format(
        **{name: json.dumps(value) for name, value in about.items()}, dependencies=json.dumps(needs, indent=4)
    )


def new_course(folder: Path) -> None:
    """Make a course: configuration and source notebook. Raises InstallationFault if something is there."""
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise InstallationFault(f"{folder} is there already: name a new folder.")
    template = Path(HIDDEN) if Path(HIDDEN).exists() else PACKAGE.parent  # a clone is its own template
    shutil.copytree(template / "solutions", folder / "solutions", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(template / "nbgrader_config.py", folder)
