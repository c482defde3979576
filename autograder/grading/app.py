"""The instructor's command line. Settings come from nbgrader_config.py, as for nbgrader itself."""

import difflib
import errno
import logging
import shutil
from pathlib import Path
from typing import Any

from nbgrader.apps.autogradeapp import AutogradeApp
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import chdir
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from traitlets import Bool, TraitError, default
from traitlets.config import loader

from ..doctor import about
from . import answers, by_hand, forget, reflections, release, report, solution
from .faults import InstallationFault, NotGraded
from .grade import Grade
from .gradebook import patiently
from .marks import counted, summary
from .page import page
from .report import Points, Row
from .submissions import assignments
from .text import clean, suggestion

# What is sometimes looked for here.
OF_NBGRADER = {"export": "nbgrader export", "feedback": "nbgrader generate_feedback"}


class Options(loader.KVArgParseConfigLoader):
    """A command line, whose options must be known."""

    def _handle_unrecognized_alias(self, arg: str) -> None:
        near = difflib.get_close_matches(arg, self.aliases, 1)
        raise loader.ArgumentError(
            f"there is no option --{clean(arg)}" + (f": did you mean --{near[0]}?" if near else ".")
        )


class Program(NbGrader):
    """What all commands have in common."""

    @default("version")
    def _version_default(self) -> str:
        return about()[0]

    def _create_loader(self, argv: Any, aliases: Any, flags: Any, classes: Any) -> Options:
        # traitlets' own warns of an unknown option, where we show no warnings.
        return Options(argv, aliases, flags, classes=classes, log=self.log, subcommands=self.subcommands)


class Command(Program):
    """A command that runs in the course's root folder, for one assignment."""

    flags: dict[str, Any] = {}

    def start(self) -> None:
        super().start()
        try:
            self.coursedir.assignment_id = assignment_of(self)
            with chdir(self.coursedir.root):
                self.run(self.coursedir.assignment_id)
        except (InstallationFault, OSError, SQLAlchemyError) as error:
            self.fail(because(error, self.coursedir))


def assignment_of(app: NbGrader) -> str:
    """Return the one assignment that a command names, by its argument or by --assignment, or the only one.

    Raises InstallationFault where there is none or more than one.
    """
    named = {*filter(None, [app.coursedir.assignment_id]), *app.extra_args} or assignments(app.coursedir)
    if len(named) > 1:
        raise InstallationFault(f"Name one assignment, not {' and '.join(sorted(named))}.")
    if not named:
        raise InstallationFault(
            f"There is no course in {app.coursedir.root}: change to the folder that has nbgrader_config.py."
            if not Path(app.coursedir.root, "nbgrader_config.py").exists()
            else f"There is no assignment in {app.coursedir.source_directory}/ of {app.coursedir.root}."
        )
    return named.pop()


class NewCourse(Program):
    name = "autograder-new-course"
    description = "Make a course in a new folder: configuration and source notebook."
    examples = "autograder new-course my_course"
    flags: dict[str, Any] = {}

    @default("log_level")
    def _log_level_default(self) -> int:
        return logging.ERROR  # that there is no configuration here yet is no news

    def start(self) -> None:
        super().start()
        if len(self.extra_args) != 1:
            self.fail("Name the folder of the new course, and nothing else: autograder new-course my_course")
        folder = Path(self.extra_args[0])
        try:
            release.new_course(folder)
        except InstallationFault as error:
            self.fail(str(error))
        print(f"{folder}/: a course. `autograder release`, from there, makes what students get.")


class SampleClass(Program):
    name = "autograder-sample-class"
    description = "Make a course of its own, in a new folder, with the sample class as its students."
    examples = "autograder sample-class sample_course"
    flags: dict[str, Any] = {}

    def start(self) -> None:
        super().start()
        course, target = self.coursedir, Path(self.extra_args[0] if self.extra_args else "sample_course")
        with chdir(course.root):
            found = sorted(
                Path(course.format_path(course.release_directory, ".", "*")).parent.glob("*/*.ipynb")
            )
            if not found:
                self.fail("There is no released notebook: run `nbgrader generate_assignment` first.")
            sample = Path("data/sample_class")
            if not sample.is_dir():
                self.fail(f"There is no {sample} in {course.root}: a clone of this project has it.")
            submitted, notebook = target / course.submitted_directory, found[0]
            there = {path.stem for path in submitted.glob("*")} - {path.stem for path in sample.glob("*.md")}
            if there or target.exists() and not submitted.exists():
                self.fail(f"{target} is there already, and is no sample class: name a new folder.")
            for name in (course.source_directory, course.release_directory):
                shutil.copytree(name, target / name, dirs_exist_ok=True)
            shutil.copy("nbgrader_config.py", target)
            students = answers.build_class(sample, notebook, submitted, notebook.parent.name)
        print(f"{target}/: a course with {len(students)} submissions. Grade it from there.")


class GradeClass(Program, AutogradeApp):
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
    def _classes_default(self) -> list[type]:
        return [*super()._classes_default(), Grade]

    @default("log_level")
    def _log_level_default(self) -> int:
        return logging.ERROR  # the progress bar says the rest

    def start(self) -> None:
        NbGrader.start(self)
        try:
            self.coursedir.assignment_id = assignment_of(self)
            solution.must_exist(self.coursedir)
        except (TraitError, InstallationFault) as error:
            self.exit(self.say(str(error)))
        status = self.grade()
        try:
            with chdir(self.coursedir.root):
                _, found, _ = write_report(self.coursedir, self.coursedir.assignment_id)
            print(summary(found), "`autograder report` prints a row for each.")
        except (OSError, SQLAlchemyError, ImportError) as error:
            status = self.say(because(error, self.coursedir))
        self.exit(status)

    def grade(self) -> int:
        """Grade the class; return the exit status: 1 if somebody was not graded, 2 if nobody could be."""
        try:
            grade = Grade(coursedir=self.coursedir, parent=self)
            grade.start()
        except (
            InstallationFault,
            NotGraded,
            NbGraderException,
            OSError,
            SQLAlchemyError,
            ImportError,
            TraitError,
        ) as error:
            return self.say(because(error, self.coursedir))
        except Exception:
            self.log.exception("The autograder itself failed; what is graded is kept.")
            return 2
        except KeyboardInterrupt:
            print("Stopped. What is graded is kept; the same command grades the rest.")
            return 130
        missed = {s: why for s, why in grade.state.not_graded.items() if s in grade.students}
        for student, why in sorted(missed.items()):
            print(f"{clean(student)} was not graded: {clean(why)}")
        return 1 if missed else 0

    def say(self, sentence: str) -> int:
        self.log.error(sentence)
        return 2


def because(error: Exception, course: CourseDirectory) -> str:
    """Say in a sentence what kept a class from being graded."""
    try:
        gradebook = make_url(course.db_url).render_as_string(hide_password=True)
    except ArgumentError:  # what it is may hold a password
        return (
            "No gradebook is at such a --db: write sqlite:////folder/gradebook.db or postgresql+psycopg://…"
        )
    if isinstance(error, OperationalError):
        return (
            f"The gradebook {gradebook} cannot be used ({error.orig}). If nbgrader is newer than it, "
            "make a copy and run `nbgrader db upgrade`."
        )
    if isinstance(error, SQLAlchemyError):
        return f"The gradebook {gradebook} cannot be used: {error}."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: make room and grade again. What is graded is kept."
    if isinstance(error, OSError) and error.errno:
        return f"{error.filename or course.root}: {error.strerror}. What is graded is kept."
    return str(error)


class Report(Command):
    name = "autograder-report"
    description = (
        "Print a row for every student: points for each test cell, and the mistake by name; "
        "write the same and more to report.html."
    )

    def run(self, assignment: str) -> None:
        if assignment not in forget.graded(self.coursedir):
            solution.must_exist(self.coursedir)
        print(report.table(*write_report(self.coursedir, assignment)))


def write_report(coursedir: CourseDirectory, assignment: str) -> tuple[Points, list[Row], Points]:
    """Write report.html to the course's root folder; return what it shows.

    It is of the last assignment; where a course has several, each has one that stays, report-NAME.html.
    """
    found = patiently(report.rows, coursedir, assignment)
    text = page(assignment, *found)
    own = [f"report-{assignment}.html"] if len(assignments(coursedir)) > 1 else []
    for name in ["report.html", *own]:
        partial = Path(".report.partial")  # never half a page
        partial.write_text(text, encoding="utf-8")
        partial.replace(name)
        print(f"{Path(name).absolute()}: the class on one page.")
    return found


class Reflections(Program):
    name = "autograder-reflections"
    description = (
        "Write reflections.html, on which answers are graded by hand; put what graders give there into the "
        "gradebook."
    )
    examples = """
        Write the page, and put two graders' work into the gradebook:

            autograder reflections 08_tinybert_fine_tuning
            autograder reflections SCORES.json SCORES-of-maria.json
        """
    flags: dict[str, Any] = {
        "overwrite": (
            {"Reflections": {"overwrite": True}},
            "Put in what graders give also where something else was entered since the page was written.",
        )
    }
    overwrite = Bool(False, help="Whether to write over what was entered elsewhere.").tag(config=True)

    def start(self) -> None:
        super().start()
        files = [Path(name).absolute() for name in self.extra_args if is_file(name)]
        self.extra_args[:] = [name for name in self.extra_args if not is_file(name)]
        try:
            with chdir(self.coursedir.root):
                self.exit(self.enter(files) if files else self.write())
        except (InstallationFault, OSError, SQLAlchemyError) as error:
            self.fail(because(error, self.coursedir))

    def write(self) -> int:
        """Write the page; return the exit status."""
        assignment = assignment_of(self)
        self.coursedir.assignment_id = assignment
        solution.must_exist(self.coursedir)
        questions, count, waiting, tasks = patiently(reflections.write, self.coursedir, assignment)
        print(
            f"reflections.html: {counted(count, 'answer')} to {counted(questions, 'question')}, {waiting} of "
            "them to be read, for graders only: it holds names and the solution."
        )
        if tasks:
            print(f"Task cells are not on it ({tasks} in {assignment}): grade them in Formgrader.")
        return 0

    def enter(self, files: list[Path]) -> int:
        """Put files of scores into the gradebook; return the exit status: 1 if something was left out."""
        named = {*filter(None, [self.coursedir.assignment_id]), *self.extra_args}
        assignment = assignment_of(self) if named else ""
        result = patiently(by_hand.enter, self.coursedir, assignment, files, self.overwrite)
        for sentence in result.left_out:
            print(sentence)
        points, comments = counted(result.points, "answer"), counted(result.comments, "comment")
        put = f"points of {points} and {comments}" if result.points or result.comments else "nothing new"
        print(f"Put into the gradebook: {put}.")
        return 1 if result.left_out else 0


def is_file(argument: str) -> bool:
    """Whether an argument is a file of scores, and not an assignment."""
    return argument.lower().endswith(".json")


class Forget(Program):
    name = "autograder-forget"
    description = "Remove all that this course keeps of one student, submissions and grades included."
    examples = "autograder forget bitdiddle"
    flags: dict[str, Any] = {"yes": ({"Forget": {"yes": True}}, "Do not ask first.")}
    yes = Bool(False, help="Whether to go on without asking.").tag(config=True)

    def start(self) -> None:
        super().start()
        if len(self.extra_args) != 1:
            self.fail("Name one student: autograder forget bitdiddle")
        (student,) = self.extra_args
        try:
            with chdir(self.coursedir.root):
                self.remove(student)
        except (OSError, SQLAlchemyError) as error:
            self.fail(because(error, self.coursedir))
        print("Done. grades.csv, where you have exported one, and nbgrader's exchange are not touched.")

    def remove(self, student: str) -> None:
        found, known = forget.belongings(self.coursedir, student), forget.students(self.coursedir)
        if not found and student not in known:
            self.fail(f"This course has nothing of `{clean(student)}`{suggestion(student, known)}")
        for path in found:
            print(path)
        print(f"These and all that the gradebook has of {clean(student)} are removed for good.")
        if not self.yes and input(f"Write {clean(student)} to go on: ") != student:
            self.fail("Nothing was removed.")
        forget.forget(self.coursedir, student)
        Path("reflections.html").unlink(missing_ok=True)  # what graders gave is not in it
        for assignment in forget.graded(self.coursedir):
            write_report(self.coursedir, assignment)


class Release(Command):
    name = "autograder-release"
    description = "Make the students' notebook and their zip: notebook, data, and what the test cells import."
    flags = {"force": ({"Release": {"force": True}}, "Replace a notebook that somebody has worked in.")}
    force = Bool(False, help="Whether to replace a notebook that somebody has worked in.").tag(config=True)

    def run(self, assignment: str) -> None:
        solution.must_exist(self.coursedir)
        notebooks = Path(self.coursedir.release_directory, assignment)
        for path in () if self.force else sorted(notebooks.glob("*.ipynb")):
            if release.was_run(path):
                raise InstallationFault(
                    f"{path} has been worked in: copy it elsewhere, and add --force. Nothing was changed."
                )
        solution.generate(self, self.coursedir)
        release.pack("release.zip", notebooks, solution.lessons(self.coursedir))
        size = Path("release.zip").stat().st_size / 1e6
        print(f"{Path('release.zip').absolute()}: {size:.0f} MB, for your students.")


class Autograder(Program):
    """The program `autograder`."""

    name = "autograder"
    description = "Tools for instructors beside `nbgrader` itself."
    subcommands = {
        "new-course": (NewCourse, NewCourse.description),
        "sample-class": (SampleClass, SampleClass.description),
        "grade": (GradeClass, GradeClass.description),
        "report": (Report, Report.description),
        "reflections": (Reflections, Reflections.description),
        "forget": (Forget, Forget.description),
        "release": (Release, Release.description),
    }
    # The program takes these before: they are in students' copies, too.
    examples = """
        Two more commands, for students and when something fails:

            autograder check NOTEBOOK
            autograder doctor
        """

    def start(self) -> None:
        if self.subapp is None and self.extra_args:
            known = [*self.subcommands, "check", "doctor"]
            near = difflib.get_close_matches(self.extra_args[0], known, 1)
            meant = OF_NBGRADER.get(self.extra_args[0]) or (near and near[0])
            print(
                f"There is no command `{self.extra_args[0]}`: "
                + (f"did you mean `{meant}`?" if meant else f"there are {', '.join(known)}.")
            )
            self.exit(2)
        if self.subapp is None:
            self.print_help()
        super().start()


main = Autograder.launch_instance
