"""Which cells of a notebook its checks depend on: the same at home and in a grade."""

from collections.abc import Sequence

from nbformat import NotebookNode

FIGURE = "figure"  # tag of cells that only show something


def is_check(cell: NotebookNode) -> bool:
    """Whether a cell is one of code that nbgrader gives points for; a student may have left any metadata."""
    nbgrader = cell.metadata.get("nbgrader")
    return cell.cell_type == "code" and isinstance(nbgrader, dict) and bool(nbgrader.get("grade"))


def is_figure(cell: NotebookNode) -> bool:
    """Whether a cell only shows something. An answer or a test is none, whatever its tags are."""
    nbgrader = cell.metadata.get("nbgrader")
    is_answer = isinstance(nbgrader, dict) and bool(nbgrader.get("solution"))
    return FIGURE in cell.metadata.get("tags", []) and not is_answer and not is_check(cell)


def counts(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return the code cells that a check may depend on: not those after the last one, nor figures."""
    checks = [number for number, cell in enumerate(cells) if is_check(cell)]
    return [
        cell
        for cell in cells[: checks[-1] + 1 if checks else None]
        if cell.cell_type == "code" and not is_figure(cell)
    ]
