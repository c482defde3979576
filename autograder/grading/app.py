"""The instructor's command line. Settings come from nbgrader_config.py, as for nbgrader itself."""

import logging
from pathlib import Path

from nbgrader.apps.autogradeapp import AutogradeApp
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters.base import NbGraderException
from nbgrader.utils import chdir
from traitlets import default

from . import answers, release, report
from .grade import Grade
from .page import page

ASSIGNMENT = "08_tinybert_fine_tuning"


class Command(NbGrader):
    """A command that runs in the course's root folder, for one assignment."""

    flags = {}

    def start(self):
        super().start()
        assignment = self.extra_args[0] if self.extra_args else ASSIGNMENT
        with chdir(self.coursedir.root):
            self.run(assignment)

    def folder(self, name, assignment):
        """Return the path of the assignment in a step without students, such as release."""
        return Path(self.coursedir.format_path(name, ".", assignment))


class SampleClass(Command):
    name = "autograder-sample-class"
    description = "Write the sample class in data/sample_class as submissions."

    def run(self, assignment):
        notebook = self.folder(self.coursedir.release_directory, assignment) / f"{assignment}.ipynb"
        if not notebook.exists():
            self.exit_with(f"No {notebook}: run `nbgrader generate_assignment {assignment}` first.")
        students = answers.build_class(
            Path("data/sample_class"), notebook, self.coursedir.submitted_directory, assignment
        )
        print(f"{len(students)} submissions written to {self.coursedir.submitted_directory}/.")

    def exit_with(self, sentence):
        self.log.error(sentence)
        self.exit(1)


class GradeClass(AutogradeApp):
    name = "autograder-grade"
    description = "Do what `nbgrader autograde` does, for many submissions at once, and write report.html."
    examples = """
        Grade what is new or has changed, on all cores of this machine:

            autograder grade 08_tinybert_fine_tuning

        On a Dask cluster that exists, everything, one student:

            autograder grade 08_tinybert_fine_tuning --scheduler tcp://host:8786
            autograder grade 08_tinybert_fine_tuning --force
            autograder grade 08_tinybert_fine_tuning --student bitdiddle

        Ended by Ctrl-C or anything else, the same command goes on where it was.
        """
    aliases = {**AutogradeApp.aliases, "scheduler": "Grade.scheduler", "workers": "Grade.workers"}

    @default("classes")
    def _classes_default(self):
        return [*super()._classes_default(), Grade]

    @default("log_level")
    def _log_level_default(self):
        return logging.ERROR  # the progress bar says the rest

    def start(self):
        NbGrader.start(self)
        self.coursedir.assignment_id = self.coursedir.assignment_id or (self.extra_args or [ASSIGNMENT])[0]
        try:
            Grade(coursedir=self.coursedir, parent=self).start()
        except NbGraderException as reason:
            self.log.error(reason)
            self.exit(1)
        except KeyboardInterrupt:
            print("Stopped. What is graded is kept; the same command grades the rest.")
            self.exit(130)
        with chdir(self.coursedir.root):
            write_report(self.coursedir, self.coursedir.assignment_id)


class Report(Command):
    name = "autograder-report"
    description = (
        "Print a row for every student: points for each test cell, and the mistake by name; "
        "write the same and more to report.html."
    )

    def run(self, assignment):
        print(report.table(*report.rows(self.coursedir, assignment)))
        write_report(self.coursedir, assignment)


def write_report(coursedir, assignment):
    """Write report.html to the course's root folder."""
    Path("report.html").write_text(page(assignment, *report.rows(coursedir, assignment)), encoding="utf-8")
    print("report.html: the class on one page.")


class Release(Command):
    name = "autograder-release"
    description = "Pack the students' zip: notebook, data, and what the test cells import."

    def run(self, assignment):
        names = release.pack(Path("."), Path("release.zip"))
        print(f"release.zip: {len(names)} files.")


class Autograder(NbGrader):
    """The program `autograder`."""

    name = "autograder"
    description = "Tools for instructors beside `nbgrader` itself."
    subcommands = {
        "sample-class": (SampleClass, SampleClass.description),
        "grade": (GradeClass, GradeClass.description),
        "report": (Report, Report.description),
        "release": (Release, Release.description),
    }

    def start(self):
        if self.subapp is None:
            self.print_help()
        super().start()


main = Autograder.launch_instance
