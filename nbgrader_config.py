"""nbgrader's configuration: run every nbgrader command from this folder."""

import warnings

from nbconvert.preprocessors import ClearMetadataPreprocessor, CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    DeduplicateIds,
    IgnorePattern,
    LimitOutput,
    OverwriteCells,
    OverwriteKernelspec,
)
from sqlalchemy.exc import SAWarning

from autograder.grading.execute import Execute
from autograder.grading.export import CsvExport
from autograder.grading.feedback import HideTests
from autograder.grading.harmless import Harmless
from autograder.grading.penalties import GetGrades
from autograder.grading.read import ClearOutput
from autograder.grading.restore import RestoreCells
from autograder.grading.rubrics import ShowRubrics
from autograder.grading.score import SaveAutoGrades, ScoreCells

c = get_config()  # noqa: F821, nbgrader provides it

c.CourseDirectory.course_id = "fine-tuning"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
# Our own notes and a course's other folders are no assignments' files.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", ".*"]

# The release is made of the source, and nothing else: it is made anew each time.
c.GenerateAssignment.force = True
c.GenerateAssignment.exporter_class = "autograder.grading.solution.ReleaseExporter"
c.ClearSolutions.code_stub = {
    "python": 'raise NotImplementedError("Your code goes here, in place of this line.")'
}
c.ClearSolutions.enforce_metadata = False  # questions without points are answered in the solution, too
c.ClearSolutions.text_stub = "*Your answer:* …"

# nbgrader's own pipeline with steps of ours: RestoreCells, Execute, ScoreCells, Harmless,
# SaveAutoGrades, ShowRubrics. Its CheckCellMetadata has nothing left to check: RestoreCells takes all
# metadata from the release.
c.Autograde.exporter_class = "autograder.grading.checked.CheckedExporter"
c.Autograde.sanitize_preprocessors = [
    RestoreCells,
    ClearOutput,
    DeduplicateIds,
    OverwriteKernelspec,
    OverwriteCells,
]
c.Autograde.autograde_preprocessors = [
    Execute,
    ScoreCells,
    IgnorePattern,
    ClearMetadataPreprocessor,
    LimitOutput,
    Harmless,
    SaveAutoGrades,
    AssignLatePenalties,
    ShowRubrics,
]

c.GenerateFeedback.force = True  # pages of before may lack points and comments that were given since
c.GenerateFeedback.exporter_class = "autograder.grading.feedback.FeedbackExporter"
c.GenerateFeedback.preprocessors = [HideTests, GetGrades, CSSHTMLHeaderPreprocessor]
c.ExportApp.plugin_class = CsvExport
# Submissions that Canvas, Moodle or Gradescope packed, in downloaded/ASSIGNMENT/archive/.
c.ZipCollectApp.extractor_plugin = "autograder.grading.collect.Unpack"
c.ZipCollectApp.collector_plugin = "autograder.grading.collect.Collect"
# Names of students, and what their code said, are in the log.
c.Application.logging_config = {"formatters": {"console": {"class": "autograder.grading.text.Formatter"}}}

# A kernel that lives for one notebook needs no file of its history. Its warning and SQLAlchemy's say
# nothing that an instructor could act on: it listens on this machine only, and the queries are nbgrader's.
c.Execute.extra_arguments = ["--log-level=ERROR", "--HistoryManager.enabled=False"]
warnings.filterwarnings("ignore", category=SAWarning)
