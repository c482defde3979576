"""Turn the evidence in test cells into points that nbgrader cannot misread."""

from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.preprocessors import SaveAutoGrades as NbGraderSaveAutoGrades
from nbgrader.utils import is_grade, is_solution
from traitlets import Dict

from .. import evidence, verdict
from .examiner import Examiner
from .execute import TIMED_OUT, error
from .faults import InstallationFault
from .marks import counted
from .read import grade_id

SAID = dict.fromkeys(TIMED_OUT, "Time ran out in this cell: is there a loop that never ends?")


class ScoreCells(NbGraderPreprocessor):
    """Leave in each test cell either one verdict, with its points, or one error; and what is to be looked at.

    Nothing that the kernel says of points counts. nbgrader takes any output on standard error for
    a failure, and a score that is negative, not a number, or missing for full marks (see
    `nbgrader.utils.determine_grade`). Runs after Execute and before SaveAutoGrades.
    """

    solution = Dict(
        {}, help="Of the solution, {notebook: {grade id: evidence}}; without it, evidence stays in the cells."
    ).tag(config=True)

    def preprocess(self, nb, resources):
        """Rewrite the outputs of every test cell."""
        known = self.solution.get(resources.get("unique_key"), {})
        self.examiner = Examiner(known, resources.get("seed"))
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell, resources, cell_index):
        """Rewrite the outputs of one cell if it is a test cell."""
        if is_grade(cell) and not is_solution(cell) and cell.cell_type == "code":
            self.must_be_known(cell)
            cell.outputs = self.scored(grade_id(cell), cell.outputs)
        return cell, resources

    def must_be_known(self, cell):
        """Raise InstallationFault if a test cell is none of the lesson's, or is worth other points."""
        name, points = grade_id(cell), cell.metadata.nbgrader["points"]
        if name not in self.examiner.checks:
            raise InstallationFault(
                f"`{name}` is no check of this lesson: give the test cell in the solution notebook one of "
                f"the names {', '.join(f'`{known}`' for known in self.examiner.checks)}, or take it out."
            )
        most = verdict.POINTS[self.examiner.checks[name][0]]
        if points != most:
            raise InstallationFault(
                f"`{name}` is worth {counted(points, 'point')} in the assignment, its check gives {most:g}: "
                f"set them to {most:g} in the solution notebook and run `nbgrader generate_assignment`."
            )

    def scored(self, name, outputs):
        """Return the outputs of the cell `name`: the one that decides its points, and marks."""
        errors = [output for output in outputs if output.output_type == "error"]
        if errors:
            return [could_not_run(errors[0])]
        found = [o.data[evidence.MIME_TYPE] for o in outputs if evidence.MIME_TYPE in o.get("data", {})]
        result = self.examiner.verdict(name, found[-1] if found else None)
        data = result._repr_mimebundle_()
        if not self.solution and found:
            data[evidence.MIME_TYPE] = found[-1]
        marks = [new_output("display_data", data=verdict.mark(said)) for said in result.marks]
        return [new_output("execute_result", data=data), *marks]


class SaveAutoGrades(NbGraderSaveAutoGrades):
    """nbgrader's SaveAutoGrades, which asks for a look where one is needed: also where a cell is marked.

    Points given by hand stay, and wait for another look only if what they were given for is not the same.
    resources["earlier"]: {grade id: source} of the submission as it was graded before; without it, or the
    cell in it, nothing is known to be the same.
    """

    def preprocess(self, nb, resources):
        """Save the grades of all cells, in their order: a test is of the student's code above it."""
        self.code_has_changed = False
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell, resources, cell_index):
        """Save the grade and the comment of one cell."""
        earlier = resources.get("earlier") or {}
        self.has_changed = earlier.get(grade_id(cell)) != cell.source
        if is_solution(cell) and cell.cell_type == "code":
            self.code_has_changed |= self.has_changed
        return super().preprocess_cell(cell, resources, cell_index)

    def _add_score(self, cell, resources):
        names = grade_id(cell), self.notebook_id, self.assignment_id, self.student_id
        grade = self.gradebook.find_grade(*names)
        seen = grade.manual_score is not None and not grade.needs_manual_grade
        before = grade.auto_score
        super()._add_score(cell, resources)
        marked = any(verdict.MARK in o.get("data", {}) for o in cell.get("outputs", []))
        has_changed = self.has_changed if is_solution(cell) else self.code_has_changed
        if seen and grade.auto_score == before and not has_changed:
            grade.needs_manual_grade = False
        elif marked:
            grade.needs_manual_grade = True
        self.gradebook.db.commit()


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
