"""Pack what a student needs into one zip."""

from collections.abc import Iterable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from ..lessons import Lesson

README = """\
# {name}

    python -m venv .venv
    .venv/bin/pip install -e .
    .venv/bin/jupyter lab {notebooks}

On Windows the programs are in `.venv\\Scripts`. Python 3.11 or newer; no network is needed
once it is installed. Hand in the notebook, under its own name.
"""

# Everything else stays with the instructor: solutions, hidden tests, the grading side.
CONTENT = ("LICENSE", "pyproject.toml", "autograder/*.py")


def pack(root: Path, target: Path, notebooks: Path, lessons: Iterable[Lesson]) -> list[str]:
    """Write the students' zip of an assignment to `target`; return the names in it.

    root: of the project; notebooks: path from there to the assignment's released folder; lessons: of
    its notebooks.
    """
    name = Path(notebooks).name
    patterns = {*CONTENT, f"{notebooks}/*.ipynb", *(path for lesson in lessons for path in lesson.release)}
    paths = sorted({path for pattern in patterns for path in Path(root).glob(pattern)})
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/README.md", README.format(name=name, notebooks=notebooks))
        for path in paths:
            archive.write(path, Path(name) / path.relative_to(root))
        return archive.namelist()
