"""Put a submission back into the order and shape of the released notebook."""

import ast
import copy
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path

import nbformat
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor

from ..lessons import KEY, lesson_of
from .read import MOST_SOURCE, Processed, grade_id, losses

Cells = Sequence[NotebookNode]
ByNumber = dict[int, list[NotebookNode]]  # cells, by the number of one in the release

MISSING = "# This cell was missing from the submission; the autograder put its place back."
MOST_EXTRAS = 300  # cells of the student's own
MOST_TWINS = 20  # copies of one cell


class RestoreCells(NbGraderPreprocessor):
    """Rebuild the notebook: the release's cells, with the student's answers in them.

    The student's own extra cells stay behind the cell they followed. Cells that were deleted,
    duplicated, moved, edited though locked, or stripped of their metadata are back as they were
    handed out, and each such repair is noted as a remark. Answers in prose that stand beside their
    place are put into it, so that a person reads them. Runs first among the sanitizing
    preprocessors; `OverwriteCells` adds the hidden tests afterwards.
    """

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Return the restored notebook; its metadata carries the remarks."""
        return restored(nb, self.released(resources["nbgrader"])), resources

    def released(self, names: Mapping[str, str]) -> NotebookNode:
        """Read the notebook that students were given. Raises NbGraderException if there is none."""
        course = self.parent.parent.coursedir
        folder = course.format_path(course.release_directory, ".", names["assignment"])
        path = Path(folder) / f"{names['notebook']}.ipynb"
        if not path.exists():
            raise NbGraderException(
                f"No {path}: run `nbgrader generate_assignment {names['assignment']}` first."
            )
        return read_release(path, path.stat().st_mtime_ns)


def restored(nb: NotebookNode, release: NotebookNode) -> NotebookNode:
    """Return a submitted notebook in the order and shape of the released one; see RestoreCells."""
    notes = {"remarks": [], **nb.metadata.get(KEY, {})}
    mine, extras = match(release.cells, nb.cells)
    remarks = prune(extras)
    moved, unsure = gather(release.cells, mine, extras)
    remarks += moving(release.cells, moved.keys() - unsure, unsure)
    cells = list(map(plain, extras.pop(-1, [])))
    for number, cell in enumerate(release.cells):
        found = written(cell, mine[number])
        remarks += [] if number in moved else describe(cell, found)
        if is_answer(cell) and not is_prose(cell):
            cells += map(plain, found[-MOST_TWINS:-1])
        cells.append(fill(cell, found, moved.get(number, [])))
        cells += map(plain, extras.pop(number, []))
    notes["losses"] = losses(lesson_of(release), nb.cells)
    notes["remarks"] += remarks
    nb.cells = cells
    notes.update(release.metadata.get(KEY, {}))
    nb.metadata.update({**copy.deepcopy(release.metadata), KEY: notes})
    return nb


@lru_cache(maxsize=8)
def read_release(path: Path, changed: int) -> NotebookNode:
    """Read a notebook, once for a class. Before format 4.5, cells have no ids: they get some."""
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{number}")
    return notebook


def carries(release: NotebookNode, notebook: NotebookNode) -> bool:
    """Whether a notebook holds this assignment's cells: one that is graded or answered, at least."""
    mine, _ = match(release.cells, notebook.cells)
    return any(
        found and grade_id(cell) and (is_graded(cell) or is_answer(cell))
        for cell, found in zip(release.cells, mine.values())
    )


def answered(release: NotebookNode, notebook: NotebookNode) -> bool:
    """Whether anything in a notebook was not handed out."""
    given = {bare(cell.source) for cell in release.cells}
    return any(bare(cell.source) not in {"", *given} for cell in notebook.cells)


def is_answer(cell: NotebookNode) -> bool:
    """Whether the cell is the student's to write: a solution cell, or one nbgrader ignores."""
    return grade_id(cell) is None or cell.metadata.nbgrader.get("solution", False)


def is_prose(cell: NotebookNode) -> bool:
    return is_answer(cell) and cell.cell_type == "markdown"


def is_graded(cell: NotebookNode) -> bool:
    return grade_id(cell) is not None and cell.metadata.nbgrader.get("grade", False)


def bare(source: str) -> str:
    """Return a source without what editors change by themselves: line ends and space at them."""
    return "\n".join(line.rstrip() for line in source.splitlines()).strip()


# --- Which cell is which


def match(release: Cells, submitted: Cells) -> tuple[ByNumber, ByNumber]:
    """Return which submitted cells belong to which released cell, and the extra ones.

    First: {number in release: [submitted cells, in order]}. Second: {number of the released
    cell they follow, -1 at the top: [extra cells]}. A cell is known by its grade id, else by
    its cell id, else by its source, unless several of the release have the same.
    """
    by_grade_id = {grade_id(cell): n for n, cell in enumerate(release) if grade_id(cell)}
    by_id = {cell.get("id"): n for n, cell in enumerate(release)}
    places: dict[str, list[int]] = {}
    for n, cell in enumerate(release):
        places.setdefault(bare(cell.source), []).append(n)
    by_source = {source: ns[0] for source, ns in places.items() if source and len(ns) == 1}
    mine: ByNumber = {n: [] for n in range(len(release))}
    extras: ByNumber = {}
    last = -1
    for cell in submitted:
        number = by_grade_id.get(grade_id(cell))
        if number is None:
            number = by_id.get(cell.get("id"), by_source.get(bare(cell.source)))
        is_copy = number is not None and mine[number] and grade_id(release[number]) is None and is_code(cell)
        if number is None or is_copy:  # a copy, such as of a cell that reads the data, is run where it stands
            extras.setdefault(last, []).append(cell)
            continue
        mine[number].append(cell)
        last = number
        if rest := written_into(release, number, bare(cell.source)):
            extras.setdefault(last, []).append(new_markdown_cell(rest))
    return mine, extras


def written_into(release: Cells, number: int, text: str) -> str:
    """Return what a student wrote into a locked cell of prose: behind its text, or over a question's."""
    given = bare(release[number].source)
    if is_answer(release[number]) or release[number].cell_type != "markdown" or text == given:
        return ""
    question = number + 1 < len(release) and is_prose(release[number + 1])
    return text.removeprefix(given).strip() if text.startswith(given) or question else ""


def prune(extras: ByNumber) -> list[str]:
    """Leave as many extra cells as anybody will look at; return a remark if there were more."""
    count = sum(map(len, extras.values()))
    left = MOST_EXTRAS
    for number, cells in extras.items():
        extras[number] = cells[:left]
        left -= len(extras[number])
    return [f"Of {count} extra cells, the first {MOST_EXTRAS} were kept."] if count > MOST_EXTRAS else []


# --- Answers in prose


def gather(release: Cells, mine: ByNumber, extras: ByNumber) -> tuple[ByNumber, set[int]]:
    """Take answers in prose out of `extras`. Return {number of an unanswered cell: [cells with text]}
    and the numbers of those for which it is not sure that the text is theirs.

    Text belongs to an unanswered cell if it stands beside it: between the cells of the release around
    it, as far as they are there. What stands where nothing says whose it is, at the notebook's end or
    among cells that are gone, is put into every graded cell that would be without an answer: a person
    can tell. Code stays where it was, too, as it may be needed there.
    """
    unanswered = [n for n, cell in enumerate(release) if is_prose(cell) and not answers(cell, mine[n])]
    given = {bare(cell.source) for cell in release}
    moved: ByNumber = {}
    unsure, homeless = set(), []
    for after in sorted(extras):
        gone = list(takewhile(lambda n: not mine[n], range(after + 1, len(release))))
        places = [n for n in [after, *gone] if n in unanswered] or [
            n for n in [after + len(gone) + 1] if n in unanswered
        ]
        graded = any(is_graded(release[n]) for n in places)
        text = [cell for cell in extras[after] if bare(cell.source) not in {"", *given}]
        text = [cell for cell in text if cell.cell_type == "markdown" or graded]
        if places:
            extras[after] = [cell for cell in extras[after] if is_code(cell)]
            for number in places if text else ():
                moved.setdefault(number, []).extend(text)
                unsure |= {number} if len(places) > 1 else set()
        elif gone or after == len(release) - 1:
            homeless += [cell for cell in text if cell.cell_type == "markdown"]
    for number in unanswered:
        if homeless and number not in moved and is_graded(release[number]):
            moved[number] = homeless
            unsure.add(number)
    return moved, unsure


def answers(cell: NotebookNode, found: Cells) -> list[NotebookNode]:
    """Return those of the submitted cells that answer a cell of prose, each text once."""
    stub = bare(cell.source)
    return list({bare(f.source): f for f in found if bare(f.source) not in ("", stub)}.values())


def is_code(cell: NotebookNode) -> bool:
    """Whether a cell is code, not prose in a cell of code."""
    if cell.cell_type != "code" or len(cell.source) > 10_000:  # more than that nobody writes by hand
        return cell.cell_type == "code"
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(re.sub(r"(?m)^\s*[%!].*", "", cell.source))  # without IPython's own commands
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def as_prose(cell: NotebookNode) -> str:
    """Return a cell's text as Markdown."""
    if not is_code(cell):
        return cell.source
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", cell.source + "`")))
    return f"{fence}python\n{cell.source}\n{fence}"


# --- The cells as they are graded


def plain(cell: NotebookNode) -> NotebookNode:
    """Return the cell without what would make nbgrader take it for one of its own."""
    cell = copy.deepcopy(cell)
    cell.metadata.pop("nbgrader", None)
    cell["id"] = new_code_cell().id
    return cell


def written(cell: NotebookNode, found: list[NotebookNode]) -> list[NotebookNode]:
    """Return those of the cells submitted for one that count: of code, an untouched copy is no answer."""
    if not is_answer(cell) or is_prose(cell):
        return found
    return [other for other in found if bare(other.source) != bare(cell.source)] or found[-1:]


def fill(cell: NotebookNode, found: Cells, moved: list[NotebookNode]) -> NotebookNode:
    """Return the released cell with the student's answer in it, if it is theirs to answer."""
    filled = copy.deepcopy(cell)
    if cell.cell_type == "code" and found:
        filled.outputs = found[-1].get("outputs", [])
    if is_prose(cell):
        if texts := answers(cell, found) or moved:
            filled.source = "\n\n".join(map(as_prose, texts))[:MOST_SOURCE]
            if pictures := {name: p for text in texts for name, p in text.get("attachments", {}).items()}:
                filled.attachments = pictures
    elif is_answer(cell):
        # Not the stub: it would overwrite what an answer elsewhere in the notebook defines.
        filled.source = found[-1].source if found else MISSING
    return filled


def moving(release: Cells, sure: Iterable[int], unsure: Iterable[int]) -> list[str]:
    """Say which answers in prose were found elsewhere, for those that count."""
    beside, around = (
        ", ".join(f"`{grade_id(release[n])}`" for n in sorted(numbers) if is_graded(release[n]))
        for numbers in (sure, unsure)
    )
    remarks = [f"What was written beside {beside} was put there as the answer."] if beside else []
    if around:
        remarks.append(f"No answer stood in {around}; text that may be one was put there to be read.")
    return remarks


def describe(cell: NotebookNode, found: Cells) -> list[str]:
    """Say what was repaired about one cell, for cells that count."""
    name = grade_id(cell)
    if not is_graded(cell) and not (is_answer(cell) and name):
        if found and not is_answer(cell) and bare(found[-1].source) != bare(cell.source):
            back = "run" if cell.cell_type == "code" else "put back"
            return [f"The locked cell `{name}` was edited; the original was {back}."]
        return []
    if not found:
        return [f"The cell `{name}` was not found; its place was put back."]
    remarks = []
    if len(found) > 1:
        which = "all answers in it are shown" if is_prose(cell) else "the last one counts"
        remarks.append(f"The cell `{name}` is there {len(found)} times; {which}.")
    if grade_id(found[-1]) != name:
        remarks.append(f"The cell `{name}` had lost its nbgrader metadata; it was put back.")
    if not is_answer(cell) and bare(found[-1].source) != bare(cell.source):
        remarks.append(f"The test cell `{name}` was edited; the original was run.")
    return remarks
