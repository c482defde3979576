"""Turn the outputs of test cells into points that nbgrader cannot misread."""

import math

from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

from ..verdict import MIME_TYPE
from .execute import TIMED_OUT, error
from .read import KEY

SAID = dict.fromkeys(TIMED_OUT, "Time ran out in this cell: is there a loop that never ends?")


class ScoreCells(NbGraderPreprocessor):
    """Leave in each test cell either one verdict, with its points, or one error.

    nbgrader takes any output on standard error for a failure, and a score that is negative,
    not a number, or missing for full marks (see `nbgrader.utils.determine_grade`). Runs after
    Execute and before SaveAutoGrades.
    """

    def preprocess(self, nb, resources):
        """Rewrite the outputs of every test cell."""
        self.unreadable = nb.metadata.get(KEY, {}).get("unreadable")
        self.remarks = nb.metadata.get(KEY, {}).get("remarks", [])
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell, resources, cell_index):
        """Rewrite the outputs of one cell if it is a test cell."""
        if is_grade(cell) and not is_solution(cell) and cell.cell_type == "code":
            if self.unreadable:
                cell.outputs = [error("Unreadable", self.remarks[0])]
            else:
                cell.outputs = [scored(cell.outputs, float(cell.metadata.nbgrader["points"]))]
        return cell, resources


def scored(outputs, max_points):
    """Return the one output that decides the cell's points."""
    errors = [output for output in outputs if output.output_type == "error"]
    if errors:
        name = errors[0].ename
        said = SAID.get(name) or (
            errors[0].evalue
            if name in ("NotRun", "DeadKernelError")
            else f"The check could not run: {name}: {errors[0].evalue}"
        )
        return error(name, said)
    results = [o for o in outputs if o.output_type == "execute_result" and MIME_TYPE in o.data]
    points = results[-1].data[MIME_TYPE].get("points") if results else None
    if not isinstance(points, (int, float)) or not math.isfinite(points):
        return error("NoVerdict", "The check gave no verdict, so no points can be given.")
    data = dict(results[-1].data)
    data["text/plain"] = repr(min(max(float(points), 0.0), max_points))
    return new_output("execute_result", data=data, execution_count=results[-1].execution_count)
