"""Show students what the hidden tests found, not the hidden tests, and no marks for their graders."""

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_grade, is_solution

from ..verdict import MARK
from .read import Processed


class HideTests(ClearHiddenTests):
    """nbgrader's ClearHiddenTests, for the feedback pages.

    Test cells only: a student's own cell may hold anything, also half a marker. There are no
    tracebacks into the tests to remove, because ScoreCells leaves one sentence in their place.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, cell_index: int) -> Processed:
        """Remove the hidden part of one test cell, and the marks in it."""
        if not is_grade(cell) or is_solution(cell):
            return cell, resources
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if MARK not in output.get("data", {})]
        return super().preprocess_cell(cell, resources, cell_index)
