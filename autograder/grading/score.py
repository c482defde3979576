"""Turn the evidence in test cells into points that nbgrader cannot misread."""

from functools import lru_cache
from pathlib import Path

import nbformat
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.preprocessors import SaveAutoGrades as NbGraderSaveAutoGrades
from nbgrader.utils import is_grade, is_solution

from .. import evidence, verdict
from .examiner import Examiner
from .execute import TIMED_OUT, Execute, error
from .read import KEY, grade_id
from .reference import Reference

SAID = dict.fromkeys(TIMED_OUT, "Time ran out in this cell: is there a loop that never ends?")


class ScoreCells(NbGraderPreprocessor):
    """Leave in each test cell either one verdict, with its points, or one error.

    Nothing that the kernel says of points counts. nbgrader takes any output on standard error for
    a failure, and a score that is negative, not a number, or missing for full marks (see
    `nbgrader.utils.determine_grade`). Runs after Execute and before SaveAutoGrades.
    """

    references = {}  # by solution: its kernel serves all submissions of this process

    def preprocess(self, nb, resources):
        """Rewrite the outputs of every test cell."""
        self.unreadable = nb.metadata.get(KEY, {}).get("unreadable")
        self.remarks = nb.metadata.get(KEY, {}).get("remarks", [])
        self.examiner = Examiner(self.reference(resources), resources.get("seed"))
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell, resources, cell_index):
        """Rewrite the outputs of one cell if it is a test cell."""
        if is_grade(cell) and not is_solution(cell) and cell.cell_type == "code":
            if self.unreadable:
                cell.outputs = [error("Unreadable", self.remarks[0])]
            else:
                cell.outputs = [self.scored(grade_id(cell), cell.outputs)]
        return cell, resources

    def reference(self, resources):
        """Return the Reference of this assignment, which all submissions share."""
        text = resources.get("solution") or solution_of(self.parent.parent.coursedir, resources["nbgrader"])
        if text not in self.references:
            provisioner = Execute(config=self.config).provisioner_name
            notebook = nbformat.reads(text, as_version=4)
            self.references[text] = Reference(notebook, provisioner, self.config)
        return self.references[text]

    def scored(self, name, outputs):
        """Return the one output that decides the points of the cell `name`."""
        errors = [output for output in outputs if output.output_type == "error"]
        if errors:
            return could_not_run(errors[0])
        found = [o.data[evidence.MIME_TYPE] for o in outputs if evidence.MIME_TYPE in o.get("data", {})]
        result = self.examiner.verdict(name, found[-1] if found else None)
        return new_output("execute_result", data=result._repr_mimebundle_())


class SaveAutoGrades(NbGraderSaveAutoGrades):
    """nbgrader's SaveAutoGrades, which also asks for a look where points are withheld."""

    def _add_score(self, cell, resources):
        super()._add_score(cell, resources)
        shown = [o.get("data", {}).get(verdict.MIME_TYPE, {}) for o in cell.get("outputs", [])]
        if any(data.get("withheld") for data in shown):
            grade = self.gradebook.find_grade(
                grade_id(cell), self.notebook_id, self.assignment_id, self.student_id
            )
            grade.needs_manual_grade = True
            self.gradebook.db.commit()


def solution_of(course, names):
    """Return the solution notebook of a submission's assignment as JSON, without outputs."""
    folder = course.format_path(course.source_directory, ".", names["assignment"])
    path = Path(folder, f"{names['notebook']}.ipynb")
    return without_outputs(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def without_outputs(path, changed):
    """Read a notebook, once for a class."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    return nbformat.writes(notebook)


def could_not_run(output):
    """Return the error that stands for a test cell's own, in words that help."""
    if output.ename == "NameError" and "training_run" in output.evalue:
        return error("NotRun", "The cell that trains the model did not finish: there is no run to look at.")
    said = SAID.get(output.ename) or (
        output.evalue
        if output.ename in ("NotRun", "DeadKernelError")
        else f"The check could not run: {output.ename}: {output.evalue}"
    )
    return error(output.ename, said)
