"""What the feedback pages show of the gradebook; late penalties follow the points there.

nbgrader works penalties out once, before anybody gave points by hand.
"""

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.preprocessors import GetGrades as NbGraderGetGrades
from nbgrader.utils import is_solution, is_task
from traitlets.config import Config

from .read import Processed, grade_id


def update_penalties(
    gradebook: Gradebook, assignment: str, config: Config, student: str | None = None
) -> None:
    """Work out the penalties of an assignment, or of one student's, anew from the points as they are now.

    config: with the plugin that `AssignLatePenalties` names; where that is none, nothing is done.
    """
    assign = AssignLatePenalties(config=config)
    assign.init_plugin()
    plugin = assign.plugin_inst
    if type(plugin) is LateSubmissionPlugin and plugin.penalty_method == "none":
        return
    found = [gradebook.find_submission(assignment, student)] if student else None
    for submission in found or gradebook.assignment_submissions(assignment):
        late = submission.total_seconds_late
        for notebook in submission.notebooks:
            asked = (submission.student_id, notebook.score, late)
            penalty = plugin.late_submission_penalty(*asked) if late > 0 else None
            if penalty is not None:
                penalty = assign._check_late_penalty(notebook, penalty)
            notebook.late_submission_penalty = penalty
    gradebook.db.commit()


class GetGrades(NbGraderGetGrades):
    """nbgrader's GetGrades, which brings scores to the feedback pages, with penalties as they are now.

    It also notes which answers wait for a person; the score of one that nobody has graded is None.
    """

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Update this student's penalty, then do as nbgrader does."""
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as gradebook:
            update_penalties(gradebook, names["assignment"], self.config, names["student"])
        return super().preprocess(nb, resources)

    def _get_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        super()._get_score(cell, resources)
        names = self.notebook_id, self.assignment_id, self.student_id
        grade = self.gradebook.find_grade(grade_id(cell), *names)
        # A test cell has its points, also where it waits for a look.
        if grade.needs_manual_grade and (is_solution(cell) or is_task(cell)):
            cell.metadata.nbgrader["waits"] = True
            if grade.manual_score is None:
                cell.metadata.nbgrader["score"] = None
