"""Pack what a student needs into one zip."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

README = """\
# TinyBERT fine-tuning: the lesson

    python -m venv .venv
    .venv/bin/pip install -e .
    .venv/bin/jupyter lab {notebooks}

On Windows the programs are in `.venv\\Scripts`. Python 3.11 or newer; no network is needed
once it is installed. Hand in the notebook, under its own name.
"""

# Everything else stays with the instructor: solutions, hidden tests, the grading side.
CONTENT = (
    "LICENSE",
    "pyproject.toml",
    "autograder/*.py",
    "autograder/tinybert/**/*.py",
    "data/reviews/*",
    "data/tinybert/*.json",
    "data/tinybert/*.safetensors",
    "data/tinybert/*.txt",
    "data/tinybert/README.md",
    "data/tinybert/*.png",
)


def pack(root, target, notebooks):
    """Write the students' zip of the project in `root` to `target`; return the names in it.

    notebooks: path of the assignment's released folder, from the root.
    """
    patterns = [*CONTENT, f"{notebooks}/*.ipynb"]
    paths = sorted(path for pattern in patterns for path in Path(root).glob(pattern))
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        archive.writestr("tinybert-lesson/README.md", README.format(notebooks=notebooks))
        for path in paths:
            archive.write(path, Path("tinybert-lesson") / path.relative_to(root))
        return archive.namelist()
