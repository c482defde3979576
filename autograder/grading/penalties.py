"""Late penalties that follow the points: nbgrader works them out once, before anybody gave points by hand."""

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.preprocessors import GetGrades as NbGraderGetGrades
from traitlets.config import Config

from .read import Processed


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
    """nbgrader's GetGrades, which brings scores to the feedback pages, with penalties as they are now."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Update this student's penalty, then do as nbgrader does."""
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as gradebook:
            update_penalties(gradebook, names["assignment"], self.config, names["student"])
        return super().preprocess(nb, resources)
