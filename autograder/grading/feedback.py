"""Show students what the hidden tests found, not the hidden tests, and nothing that is for their graders."""

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_grade, is_solution
from traitlets import Bool

from ..verdict import MARK
from .read import Processed
from .rubrics import is_rubric


class HideTests(ClearHiddenTests):
    """nbgrader's ClearHiddenTests, for the feedback pages.

    Test cells only: a student's own cell may hold anything, also half a marker. There are no
    tracebacks into the tests to remove, because ScoreCells leaves one sentence in their place.
    """

    show_rubrics = Bool(
        False, help="Whether students see the rubrics of the answers that a person grades."
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Take out the rubrics, unless they are to be shown, and what is hidden in the test cells."""
        nb.cells = [cell for cell in nb.cells if self.show_rubrics or not is_rubric(cell)]
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, cell_index: int) -> Processed:
        """Remove the hidden part of one test cell, and the marks in it."""
        if not is_grade(cell) or is_solution(cell):
            return cell, resources
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if MARK not in output.get("data", {})]
        return super().preprocess_cell(cell, resources, cell_index)
