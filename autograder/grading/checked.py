"""What `nbgrader autograde` does before it grades anybody, as far as its hooks reach."""

import os
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode
from nbgrader.converters import Autograde
from nbgrader.utils import chdir, find_all_files
from traitlets.config import Config

from . import solution
from .faults import InstallationFault, NotGraded
from .grade import Grade
from .job import execute
from .read import SubmissionExporter
from .state import State


class CheckedExporter(SubmissionExporter):
    """The exporter of `nbgrader autograde`, which makes it first of all, before it touches anything."""

    parent: Autograde

    def __init__(self, config: Config | None = None, parent: Any = None, **settings: Any) -> None:
        super().__init__(config=config, parent=parent, **settings)  # type: ignore[no-untyped-call]
        if type(parent) is Autograde:
            try:
                grade = before(parent)
                known = Config()
                known.Execute.prepared, known.ScoreCells.solution = grade.prepared, grade.state.evidence
                self.update_config(known)
            except InstallationFault as why:
                parent.log.error(str(why))
                raise SystemExit(2) from None

    def from_filename(
        self, filename: str, resources: Any = None, **settings: Any
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Export from a file. Raises NotGraded, which the report then says, where that cannot be done."""
        names, course = resources["nbgrader"], self.parent.coursedir
        state = State(course.root, names["assignment"])
        try:
            take_back_links(filename, names, self.parent)
            exported = super().from_filename(filename, resources=resources, **settings)
        except NotGraded as why:
            state.not_graded[names["student"]] = str(why)
            state.save()
            raise
        if state.not_graded.pop(names["student"], None):
            state.save()
        return exported


def take_back_links(filename: str, names: Mapping[str, str], autograde: Autograde) -> None:
    """Remove what nbgrader has copied by way of a submission's links. Raises NotGraded if the file is one."""
    course = autograde.coursedir
    submitted, source, graded = (
        course.format_path(step, student, names["assignment"])
        for step, student in (
            (course.submitted_directory, names["student"]),
            (course.source_directory, "."),
            (course.autograded_directory, names["student"]),
        )
    )
    if os.path.islink(filename):
        raise NotGraded(f"`{os.path.basename(filename)}` is a link: hand in the file itself.")
    kept = autograde.exclude_overwriting.get(names["assignment"], [])
    for path in find_all_files(submitted, course.ignore) if filename.startswith(submitted) else ():
        name = os.path.relpath(path, submitted)
        copied = os.path.join(graded, name)
        is_ours = name not in kept and os.path.exists(os.path.join(source, name))  # put in its place since
        if os.path.islink(path) and not is_ours and os.path.exists(copied):
            os.remove(copied)


def before(autograde: Autograde) -> Grade:
    """Do for nbgrader's Autograde what Grade does before it grades anybody."""
    course, config = autograde.coursedir, autograde.config
    with chdir(course.root):
        solution.must_run(course, config)
        grade = Grade(coursedir=course, parent=autograde.parent)
        if grade.state.solution != grade.check_key or not solution.known(course):
            grade.check(lambda jobs: [(job, attempted(job, grade.executing, config)) for job in jobs])
            grade.state.save()
        return grade


def attempted(*arguments: Any) -> solution.Result:
    """Return what execute(*arguments) does, or the exception that it raises."""
    try:
        return execute(*arguments)
    except Exception as error:
        return error
