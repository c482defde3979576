"""Turn the evidence in test cells into points that nbgrader cannot misread."""

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.preprocessors import SaveAutoGrades as NbGraderSaveAutoGrades
from nbgrader.utils import determine_grade, is_grade, is_solution
from traitlets import Dict, List, Unicode

from .. import evidence, rule, verdict
from ..lessons import Lesson, lesson_of
from .execute import TIMED_OUT, error
from .faults import InstallationFault, NotGraded
from .read import Processed, grade_id

COULD_NOT = "The check could not run"
SAID = dict.fromkeys(TIMED_OUT, "Time ran out in this cell: is there a loop that never ends?")


class ScoreCells(NbGraderPreprocessor):
    """Leave in each test cell either one verdict, with its points, or one error; and what is to be looked at.

    Nothing that the kernel says of points counts. nbgrader takes any output on standard error for
    a failure, and a score that is negative, not a number, or missing for full marks (see
    `nbgrader.utils.determine_grade`). Runs after Execute and before SaveAutoGrades.
    """

    solution = Dict(
        default_value=None, allow_none=True,
        help="Of the solution, {notebook: {grade id: evidence}}; None for itself.",
    ).tag(config=True)  # fmt: skip

    without = List(
        Unicode(), help="Rules that do not count in this course, by their names in docs/rules.md."
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Rewrite the outputs of every test cell. Raises InstallationFault for a rule that is none."""
        known = (self.solution or {}).get(resources.get("unique_key", ""), {})
        self.lesson = lesson_of(nb)
        if self.lesson.checks:
            self.examiner = self.lesson.examiner(known, resources["seed"])
        if unknown := sorted(set(self.without) - rule.NAMES):
            raise InstallationFault(
                f"c.ScoreCells.without names `{unknown[0]}`, and the lesson has no rule of that name: "
                "docs/rules.md has them all."
            )
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, cell_index: int) -> Processed:
        """Rewrite the outputs of one cell if it is a test cell that the lesson judges."""
        if is_grade(cell) and not is_solution(cell) and cell.cell_type == "code":
            if grade_id(cell) in self.lesson.checks:
                cell.outputs = self.scored(cell)
            else:
                cell.outputs = list(map(in_time, self.without_evidence(cell)))
                must_fit(cell)
        return cell, resources

    def without_evidence(self, cell: NotebookNode) -> list[NotebookNode]:
        """Return the outputs of a test cell that is none of the lesson's, for nbgrader to grade it by.

        Raises InstallationFault where it calls a check all the same, and would have all its points for it.
        """
        kept = [output for output in cell.outputs if evidence.MIME_TYPE not in output.get("data", {})]
        if len(kept) < len(cell.outputs) and self.solution is None:
            known = ", ".join(f"`{name}`" for name in self.lesson.checks)
            raise InstallationFault(
                f"`{grade_id(cell)}` calls a check, and its notebook's lesson "
                + (f"knows it by another name: give the cell one of {known}." if known else
                   "is not named: `autograder.lesson` in the source notebook's metadata does that.")
            )  # fmt: skip
        return kept

    def judged(self, cell: NotebookNode, text: str | None) -> verdict.Verdict:
        """Return the Verdict on a test cell from its evidence; without any, 0 points and a mark."""
        name, points = cell.metadata.nbgrader["grade_id"], cell.metadata.nbgrader["points"]
        try:
            return self.examiner.verdict(name, text).without(self.without).out_of(points)
        except evidence.Malformed as reason:
            said = f"No evidence can be read from this cell: {reason}."
        except Exception as reason:  # well formed, and yet no record of anything that can have happened
            said = f"The evidence in this cell contradicts itself: {type(reason).__name__}: {reason}."
        missing = rule.Finding(
            rule="evidence",
            points=points,
            observed=said,
            expected="what this check records when it is run.",
            why="Something changes what the checks record: take it out, or ask your instructor, who was told "
            "to look at this by hand.",
            hint="The text above this cell",
        )
        return verdict.Verdict(self.lesson.checks[name], points, [missing], [said])

    def scored(self, cell: NotebookNode) -> list[NotebookNode]:
        """Return the outputs of a test cell of the lesson's: the one that decides its points, and marks."""
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors:
            return [could_not_run(errors[0], self.lesson)]
        found = [o.data[evidence.MIME_TYPE] for o in cell.outputs if evidence.MIME_TYPE in o.get("data", {})]
        result = self.judged(cell, found[-1] if found else None)
        data = result._repr_mimebundle_()
        if found:
            data[evidence.MIME_TYPE] = found[-1]
        marks = [new_output("display_data", data=verdict.mark(said)) for said in result.marks]
        return [new_output("execute_result", data=data), *marks]


class SaveAutoGrades(NbGraderSaveAutoGrades):
    """nbgrader's SaveAutoGrades, which asks for a look where one is needed: also where a cell is marked.

    Points given by hand stay, and wait for another look only if what they were given for is not the same.
    resources["earlier"]: {grade id: source} of the submission as it was graded before; without it, or the
    cell in it, nothing is known to be the same.
    """

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Save the grades of all cells, in their order: a test is of the student's code above it."""
        self.code_has_changed = False
        nb, resources = super().preprocess(nb, resources)
        for output in (output for cell in nb.cells for output in cell.get("outputs", [])):
            output.get("data", {}).pop(evidence.MIME_TYPE, None)  # no part of what students get back
        return nb, resources

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, cell_index: int) -> Processed:
        """Save the grade and the comment of one cell."""
        earlier = resources.get("earlier") or {}
        self.has_changed = earlier.get(grade_id(cell)) != cell.source
        if is_solution(cell) and cell.cell_type == "code":
            self.code_has_changed |= self.has_changed
        return super().preprocess_cell(cell, resources, cell_index)

    def _add_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
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


def must_fit(cell: NotebookNode) -> None:
    """Raise NotGraded where a test cell shows more points than it has: nbgrader takes none of them."""
    try:
        determine_grade(cell)
    except ValueError:
        name, most = grade_id(cell), cell.metadata.nbgrader["points"]
        raise NotGraded(f"`{name}` shows a number above its {most:g} points: mend the test.") from None


def in_time(output: NotebookNode) -> NotebookNode:
    """Return an output, or the error that says that time ran out in place of the one that ended the cell."""
    said = SAID.get(output.get("ename", ""))
    return error(output.ename, said) if said else output


def could_not_run(output: NotebookNode, lesson: Lesson) -> NotebookNode:
    """Return the error that stands for a test cell's own, in words that help."""
    if explained := lesson.explain(output.ename, output.evalue):
        return error("NotRun", explained)
    said = SAID.get(output.ename) or (
        output.evalue
        if output.ename in ("NotRun", "DeadKernelError") or output.evalue.startswith(COULD_NOT)
        else f"{COULD_NOT}: {output.ename}: {output.evalue}"
    )
    return error(output.ename, said)
