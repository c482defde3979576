"""docs/instructor.md, followed word by word; and downloads of each system, from collecting to its grade file."""

import csv
import io
import os
import re
import shlex
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import nbformat
import pytest
import reflecting
from conftest import ASSIGNMENT, ROOT, Course
from jupyter_core.application import NoStart
from nbgrader.api import Gradebook
from nbgrader.apps.nbgraderapp import NbGraderApp
from test_ordinary_assignment import ORDINARY, source

from autograder.grading import answers
from autograder.grading.app import Autograder

PROGRAMS = {"nbgrader": NbGraderApp, "autograder": Autograder}
DOCUMENT = ROOT / "docs" / "instructor.md"
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$|((?:^    [^\n]+\n)+)", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,{title} (77)
    Points Possible,,,,,{points}
"Doe, Jane",12345,A1,jdoe,One,
"Roe, Rick",12346,A2,rroe,One,
"Moe, Mo",12347,A3,mmoe,One,
"""
MOODLE = """\
Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed","Last modified (submission)","Last modified (grade)","Feedback comments"
"Participant 501","Jane Doe",jane@uni.edu,"Submitted for grading - ",,{points},Yes,"Monday, 2 March 2026, 9:00 PM",-,
"Participant 502","Rick Roe",rick@uni.edu,"Submitted for grading - ",,{points},Yes,"Monday, 2 March 2026, 9:00 PM",-,
"""
METADATA = """\
submission_987:
  :submitters:
  - :name: Jane Doe
    :email: Jane@Uni.edu
  :created_at: 2026-03-01 14:00:00.000000000 -08:00
submission_988:
  :submitters:
  - :name: Rick Roe
    :email: rick@uni.edu
  :created_at: 2026-03-02 23:00:00.000000000 -08:00
"""


def run(*command):
    """Run a command here, without the three seconds that starting it takes; return its output in one line."""
    if "grade" in command:  # starts kernels
        status, printed = Course(os.getcwd()).run(*command)
    else:
        app, output, status = PROGRAMS[command[0]](), io.StringIO(), 0
        with redirect_stdout(output), redirect_stderr(output):
            try:
                app.initialize([*command[1:]])
                app.start()
            except NoStart:  # its way to say that the subcommand did
                pass
            except SystemExit as end:
                status = end.code
            while app := app.subapp:
                type(app).clear_instance()
        printed = output.getvalue()
    assert not status and "Traceback" not in printed, f"{shlex.join(command)}: {printed}"
    return " ".join(printed.split())


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in; what a configuration changes of this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("late", None)


def pack(assignment, files):
    """Put a zip of {path: text} where zip_collect looks."""
    with zipfile.ZipFile(f"downloaded/{assignment}/archive/submissions.zip", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def put(assignment, name, text):
    """Put a grade file there."""
    with open(f"downloaded/{assignment}/archive/{name}", "w") as file:
        file.write(text)


def grade_by_hand(assignment, students, points):
    """Give so many points for each answer in prose, as Formgrader does."""
    with Gradebook("sqlite:///gradebook.db", "fine-tuning") as gradebook:
        for student in students:
            for notebook in gradebook.find_submission(assignment, student).notebooks:
                for grade in notebook.grades:
                    if grade.needs_manual_grade:
                        grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()


def to_read(student):
    """Return the names of the cells that wait for a person."""
    with Gradebook("sqlite:///gradebook.db", "fine-tuning") as gradebook:
        (notebook,) = gradebook.find_submission(ASSIGNMENT, student).notebooks
        return [grade.name for grade in notebook.grades if grade.needs_manual_grade]


def column(path, name):
    with open(path, newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_the_document(here):
    printed = ""
    for name, text, commands in BLOCK.findall(DOCUMENT.read_text()):
        if name:
            with open(name, "a") as file:
                file.write(f"\n{text}" if name == "nbgrader_config.py" else text)
        for command in map(shlex.split, commands.splitlines()):
            if command[1] == "zip_collect":
                download()
            if command[1:3] == ["reflections", "SCORES.json"]:  # as a grader saves it in the browser
                here_now = Path.cwd()
                given = [reflecting.entry(here_now, "jdoe", cell, points=2) for cell in to_read("jdoe")]
                reflecting.save(here_now / "SCORES.json", *given)
            if command[0] in PROGRAMS:
                printed += run(*command) + " "
            elif command[0] == "cd":
                os.chdir(command[1])
                share(here / "exchange")
            elif command[0] == "mkdir":
                os.makedirs(command[-1])
            else:
                assert command[:2] == ["pip", "install"]  # see test_wheel.py
    assert "Canvas marks as late, without saying how late: Roe, Rick (rroe)." in printed
    assert (here / "my_course/release.zip").exists() and len([*(here / "my_course").glob("feedback/*/*/*.html")]) == 2
    grades = dict(zip(column("grades.csv", "student_id"), column("grades.csv", "score")))
    assert grades == {"jdoe": "16.0", "rroe": "12.0", "mmoe": "0.0"}
    assert column("canvas.csv", f"{ASSIGNMENT} (77)") == ["28.00", "16", "", ""]
    assert column("moodle.csv", "Grade") == ["16", ""]
    assert printed.count("they have answers that wait for a person's grade: rroe.") == 2
    with Gradebook("sqlite:///gradebook.db", "fine-tuning") as gradebook:
        assert str(gradebook.find_assignment(ASSIGNMENT).duedate) == "2026-03-01 23:59:00"
        assert gradebook.find_student("jdoe").last_name == "Doe"


def share(exchange):
    """Have a place for nbgrader's exchange, which the machine of a class has."""
    exchange.mkdir()
    exchange.chmod(0o777)
    with open("nbgrader_config.py", "a") as file:
        file.write(f"\nc.Exchange.root = {str(exchange)!r}\n")


def download():
    """Two students' answers, as Canvas packs them, and the grade files of Canvas and Moodle."""
    release = nbformat.read(f"notebooks/{ASSIGNMENT}/{ASSIGNMENT}.ipynb", as_version=4)
    texts = [
        nbformat.writes(answers.fill(release, answers.parse((ROOT / "data" / "sample_class" / f"{name}.md").read_text())))
        for name in ("right-with-decay-groups", "default-learning-rate")
    ]  # fmt: skip
    pack(ASSIGNMENT, {
        f"doejane_12345_9001_{ASSIGNMENT}-1.ipynb": texts[0], f"roerick_LATE_12346_9002_{ASSIGNMENT}.ipynb": texts[1],
    })  # fmt: skip
    put(ASSIGNMENT, "worksheet.csv", MOODLE.format(points="28.00"))
    put(ASSIGNMENT, "Grades.csv", CANVAS.format(title=ASSIGNMENT, points="28.00"))


@pytest.mark.parametrize("name", re.findall(r"`((?:nbgrader|autograder) [a-z_-]+)", COMMENT.sub("", DOCUMENT.read_text())))
def test_commands_that_the_text_names_are_there(name):
    program, command = name.split()
    assert command in PROGRAMS[program].subcommands or command in NbGraderApp().subcommands


# --- Each system, from its download to its grade file

FILES = {
    "Canvas": ["doejane_12345_9001_{}.ipynb", "roerick_LATE_12346_9002_{}.ipynb"],
    "Moodle": ["Jane Doe_501_assignsubmission_file_/{}.ipynb", "Rick Roe_502_assignsubmission_file_/{}.ipynb"],
    "Gradescope": ["a/submission_987/{}.ipynb", "a/submission_988/{}.ipynb", "a/submission_metadata.yml"],
}


@pytest.mark.parametrize("system", FILES)
def test_from_download_to_upload(here, system):
    Course.copy(here)
    os.mkdir(f"solutions/{ORDINARY}")
    os.makedirs(f"downloaded/{ORDINARY}/archive")
    nbformat.write(source(), f"solutions/{ORDINARY}/{ORDINARY}.ipynb")
    with open("nbgrader_config.py", "a") as config:
        config.write("c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    run("nbgrader", "generate_assignment", ORDINARY)
    run("nbgrader", "db", "assignment", "add", ORDINARY, "--duedate=2026-03-01 23:59 UTC")
    notebook = nbformat.read(f"notebooks/{ORDINARY}/{ORDINARY}.ipynb", as_version=4)
    texts = []
    for answer in ("return sum(values) / len(values)", "return sum(values)"):
        notebook.cells[1].source = f"def mean(values):\n    {answer}"
        notebook.cells[-1].source = "It is what is left of many."
        texts.append(nbformat.writes(notebook))
    files = dict(zip((name.format(ORDINARY) for name in FILES[system]), [*texts, METADATA]))
    pack(ORDINARY, files)
    sheet = MOODLE.format(points="10.50") if system == "Moodle" else CANVAS.format(title="Means", points="10.50")
    if system == "Gradescope":
        sheet = sheet.replace("jdoe", "jane@uni.edu").replace("rroe", "rick@uni.edu")
    put(ORDINARY, "Grades.csv", sheet)

    run("nbgrader", "zip_collect", ORDINARY)
    run("autograder", "grade", ORDINARY)
    students = ("jdoe", "rroe") if system == "Canvas" else ("jane@uni.edu", "rick@uni.edu")
    upload = "Moodle" if system == "Moodle" else "Canvas"
    export = "nbgrader", "export", "--exporter", f"autograder.grading.export.{upload}Export", "--assignment", ORDINARY
    assert f"wait for a person's grade: {', '.join(students)}." in run(*export)
    grade_by_hand(ORDINARY, students, 4)
    run(*export)
    found = column(f"{upload.lower()}.csv", "Grade" if upload == "Moodle" else "Means (77)")
    # Who was late loses all, where the system tells when it was.
    expected = ["10.5", "0" if system == "Gradescope" else "5.5"]
    assert found == (expected if upload == "Moodle" else ["10.50", *expected, ""])
    if system == "Gradescope":  # again, from one of the two
        pack(ORDINARY, files | {"a/submission_987/more.txt": "handed in again"})
        run("nbgrader", "zip_collect", ORDINARY, "--force")
        assert "1 submission graded already and unchanged" in run("autograder", "grade", ORDINARY)
        run(*export)
        assert column("canvas.csv", "Means (77)") == found  # points given by hand are still there
