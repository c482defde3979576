"""Answers as readable text: fill them into the released notebook.

An answer is a Markdown file. A heading `## todo1_optimizer` is the grade id of a cell; what
stands below it is the cell's content, code in a ```python fence, prose as it is. Cells it does
not name keep what they were released with. Everything above the first such heading is for
people: what the answer shows.
"""

import copy
import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .read import grade_id


def parse(text: str) -> dict[str, str]:
    """Return {grade id: source} of an answer's text."""
    parts = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)[1:]
    found = {}
    for name, body in zip(parts[::2], parts[1::2]):
        fence = re.search(r"^```python\n(.*?)^```", body, flags=re.MULTILINE | re.DOTALL)
        found[name] = fence.group(1).rstrip("\n") if fence else body.strip()
    return found


def fill(release: NotebookNode, answer: Mapping[str, str]) -> NotebookNode:
    """Return a copy of the released notebook with the answer's cells filled in.

    Raises KeyError if the answer names a cell that the release does not have.
    """
    filled = copy.deepcopy(release)
    cells = {grade_id(cell): cell for cell in filled.cells}
    for name, source in answer.items():
        cells[name].source = source
    return filled


def build_class(folder: str | Path, release: str | Path, submitted: str | Path, assignment: str) -> list[str]:
    """Write every answer in `folder` as a submission of the student it is named after.

    folder: with one Markdown file a student; release: path of the released notebook;
    submitted: nbgrader's folder of submissions. Returns the students' names.
    """
    notebook = nbformat.read(release, as_version=4)
    students = []
    for path in sorted(Path(folder).glob("*.md")):
        if path.stem == "README":
            continue
        target = Path(submitted) / path.stem / assignment / Path(release).name
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(fill(notebook, parse(path.read_text())), target)
        students.append(path.stem)
    return students
