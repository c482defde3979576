"""Put a submission back into the order and shape of the released notebook."""

import copy
from functools import lru_cache
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor

from .read import KEY, grade_id, losses

MISSING = "# This cell was missing from the submission; the autograder put its place back."


class RestoreCells(NbGraderPreprocessor):
    """Rebuild the notebook: the release's cells, with the student's answers in them.

    The student's own extra cells stay behind the cell they followed. Cells that were deleted,
    duplicated, moved, edited though locked, or stripped of their metadata are back as they were
    handed out, and each such repair is noted as a remark. Runs first among the sanitizing
    preprocessors; `OverwriteCells` adds the hidden tests afterwards.
    """

    def preprocess(self, nb, resources):
        """Return the restored notebook; its metadata carries the remarks."""
        release = self.released(resources["nbgrader"])
        if not nb.metadata.get(KEY, {}).get("unreadable"):
            nb.metadata[KEY] = {"remarks": [], "losses": losses(nb.cells)}
        notes = nb.metadata[KEY]
        mine, extras = match(release.cells, nb.cells)
        cells = extras.pop(None, [])
        for number, cell in enumerate(release.cells):
            found = mine[number]
            if not notes.get("unreadable"):
                notes["remarks"] += describe(cell, found)
            cells += [plain(other) for other in found[:-1] if is_answer(cell)]
            cells.append(fill(cell, found))
            cells += extras.pop(number, [])
        nb.cells = cells
        return nb, resources

    def released(self, names):
        """Read the notebook that students were given. Raises NbGraderException if there is none."""
        course = self.parent.parent.coursedir
        folder = course.format_path(course.release_directory, ".", names["assignment"])
        path = Path(folder) / f"{names['notebook']}.ipynb"
        if not path.exists():
            raise NbGraderException(
                f"No {path}: run `nbgrader generate_assignment {names['assignment']}` first."
            )
        return read_release(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def read_release(path, changed):
    """Read a notebook, once for a class."""
    return nbformat.read(path, as_version=4)


def is_answer(cell):
    """Whether the cell is the student's to write: a solution cell, or one nbgrader ignores."""
    return grade_id(cell) is None or cell.metadata.nbgrader.get("solution", False)


def is_graded(cell):
    return grade_id(cell) is not None and cell.metadata.nbgrader.get("grade", False)


def match(release, submitted):
    """Return which submitted cells belong to which released cell, and the extra ones.

    First: {number in release: [submitted cells, in order]}. Second: {number of the released
    cell they follow, None at the top: [extra cells]}. A cell is known by its grade id, else by
    its cell id, else by its source.
    """
    by_grade_id = {grade_id(cell): n for n, cell in enumerate(release) if grade_id(cell)}
    by_id = {cell.get("id"): n for n, cell in enumerate(release)}
    by_source = {cell.source: n for n, cell in enumerate(release) if not is_answer(cell)}
    mine = {n: [] for n in range(len(release))}
    extras, last = {}, None
    for cell in submitted:
        number = by_grade_id.get(grade_id(cell))
        if number is None:
            number = by_id.get(cell.get("id"), by_source.get(cell.source))
        if number is None:
            extras.setdefault(last, []).append(plain(cell))
        else:
            mine[number].append(cell)
            last = number
    return mine, extras


def plain(cell):
    """Return the cell without what would make nbgrader take it for one of its own."""
    cell = copy.deepcopy(cell)
    cell.metadata.pop("nbgrader", None)
    cell["id"] = new_code_cell().id
    return cell


def fill(cell, found):
    """Return the released cell with the student's last answer in it, if it is theirs to answer."""
    filled = copy.deepcopy(cell)
    if cell.cell_type == "code" and found:
        filled.outputs = found[-1].get("outputs", [])
    if is_answer(cell):
        if found:
            filled.source = found[-1].source
        elif cell.cell_type == "code":
            # Not the stub: it would overwrite what an answer elsewhere in the notebook defines.
            filled.source = MISSING
    return filled


def describe(cell, found):
    """Say what was repaired about one cell, for cells that count."""
    name = grade_id(cell)
    if not is_graded(cell) and not (is_answer(cell) and name):
        if found and not is_answer(cell) and found[-1].source != cell.source:
            return [f"The locked cell `{name}` was edited; the original was run."]
        return []
    if not found:
        return [f"The cell `{name}` was deleted; its place was put back."]
    remarks = []
    if len(found) > 1:
        remarks.append(f"The cell `{name}` is there {len(found)} times; the last one counts.")
    if grade_id(found[-1]) != name:
        remarks.append(f"The cell `{name}` had lost its nbgrader metadata; it was put back.")
    if not is_answer(cell) and found[-1].source != cell.source:
        remarks.append(f"The test cell `{name}` was edited; the original was run.")
    return remarks
