"""The instructor's command line. Settings come from nbgrader_config.py, as for nbgrader itself."""

from pathlib import Path

from nbgrader.apps.baseapp import NbGrader
from nbgrader.utils import chdir

from . import answers, release, report

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


class Report(Command):
    name = "autograder-report"
    description = "Print a row for every student: points for each test cell, and the mistake by name."

    def run(self, assignment):
        print(report.table(*report.rows(self.coursedir, assignment)))


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
        "report": (Report, Report.description),
        "release": (Release, Release.description),
    }

    def start(self):
        if self.subapp is None:
            self.print_help()
        super().start()


main = Autograder.launch_instance
