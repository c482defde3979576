"""What `nbgrader autograde` does before it grades anybody, as far as its hooks reach."""

import os

from nbgrader.converters import Autograde
from nbgrader.utils import chdir, find_all_files
from traitlets.config import Config

from . import solution
from .faults import InstallationFault, NotGraded
from .grade import Grade
from .job import execute
from .read import SubmissionExporter


class CheckedExporter(SubmissionExporter):
    """The exporter of `nbgrader autograde`, which makes it first of all, before it touches anything."""

    def __init__(self, config=None, parent=None, **settings):
        super().__init__(config=config, parent=parent, **settings)
        if type(parent) is Autograde:
            try:
                self.update_config(Config({"Execute": {"prepared": before(parent)}}))
            except InstallationFault as why:
                parent.log.error(str(why))
                raise SystemExit(2) from None

    def from_filename(self, filename, resources=None, **settings):
        """Export from a file; take back first what nbgrader has copied by way of a submission's links."""
        names, course = resources["nbgrader"], self.parent.coursedir
        submitted, source, graded = (
            course.format_path(step, student, names["assignment"])
            for step, student in (
                (course.submitted_directory, names["student"]),
                (course.source_directory, "."),
                (course.autograded_directory, names["student"]),
            )
        )
        if os.path.islink(filename):
            raise NotGraded(f"{filename} is a link, which is not followed: hand in the file itself.")
        for path in find_all_files(submitted, course.ignore) if filename.startswith(submitted) else ():
            name = os.path.relpath(path, submitted)
            copied = os.path.join(graded, name)
            own = os.path.join(source, name)  # which nbgrader has put in its place
            if os.path.islink(path) and not os.path.exists(own) and os.path.exists(copied):
                os.remove(copied)
        return super().from_filename(filename, resources=resources, **settings)


def before(autograde):
    """Do for nbgrader's Autograde what Grade does before it grades anybody; return `Grade.prepared`."""
    course, config = autograde.coursedir, autograde.config
    with chdir(course.root):
        solution.must_run(course, config)
        grade = Grade(coursedir=course, parent=autograde.parent)
        if grade.state.solution != grade.check_key:
            solution.check(
                grade, lambda jobs: [(job, attempted(job, grade.executing, config)) for job in jobs]
            )
            grade.state.solution = grade.check_key
            grade.state.save()
        return grade.prepared


def attempted(*arguments):
    """Return what execute(*arguments) does, or the exception that it raises."""
    try:
        return execute(*arguments)
    except Exception as error:
        return error
