"""docs/instructor.md, followed word by word; and downloads of each system, from collecting to its grade file."""

import csv
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from classes import environment
from conftest import ASSIGNMENT, ROOT, Course
from nbgrader.api import Gradebook
from test_ordinary_assignment import ORDINARY, source

from autograder.grading import answers

DOCUMENT = ROOT / "docs" / "instructor.md"
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$|((?:^    .+\n)+)", re.MULTILINE | re.DOTALL)
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
  - {:name: Jane Doe, :sid: '31', :email: Jane@Uni.edu}
  :created_at: 2026-03-01 14:00:00.000000000 -08:00
submission_988:
  :submitters:
  - {:name: Rick Roe, :sid: '32', :email: rick@uni.edu}
  :created_at: 2026-03-02 23:00:00.000000000 -08:00
"""


def pack(folder, assignment, files):
    """Put a zip of {path: text} where zip_collect looks."""
    with zipfile.ZipFile(folder / "downloaded" / assignment / "archive" / "submissions.zip", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def grade_by_hand(folder, assignment, students, points, course="fine-tuning"):
    """Give so many points for each answer in prose, as Formgrader does."""
    with Gradebook(f"sqlite:///{folder}/gradebook.db", course) as gradebook:
        for student in students:
            for notebook in gradebook.find_submission(assignment, student).notebooks:
                for grade in notebook.grades:
                    if grade.needs_manual_grade:
                        grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()


def column(path, name):
    with open(path, newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_the_document(tmp_path):
    place, exchange = tmp_path, tmp_path / "exchange"
    exchange.mkdir(mode=0o777)
    exchange.chmod(0o777)
    said = {}
    for match in BLOCK.finditer(DOCUMENT.read_text()):
        name, text, commands = match.groups()
        if name:
            with open(place / name, "a") as file:
                file.write(f"\n{text}" if name.endswith("config.py") else text)
            continue
        commands = re.sub(r"(?m)^    (pip install .*\n)?", "", commands)
        if "zip_collect" in commands:
            download(place)
        if "release_feedback" in commands:
            grade_by_hand(place, ASSIGNMENT, ["jdoe"], 2)
        done = subprocess.run(
            ["bash", "-ec", f"{commands}\npwd > {tmp_path}/place"], cwd=place, capture_output=True, text=True, timeout=300,
            env={**environment(), "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
        said[commands.strip()] = printed = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 0 and "Traceback" not in printed, f"{commands}{done.stdout}{done.stderr}"
        if "new-course" in commands:
            place = Path((tmp_path / "place").read_text().strip())
            with open(place / "nbgrader_config.py", "a") as file:
                file.write(f"\nc.Exchange.root = {str(exchange)!r}\n")
    printed = " ".join(said.values())
    assert "Canvas marks as late, without saying how late: Roe, Rick (rroe)." in printed
    assert (place / "release.zip").exists() and len([*place.glob("feedback/*/*/*.html")]) == 2
    grades = dict(zip(column(place / "grades.csv", "student_id"), column(place / "grades.csv", "score")))
    assert grades == {"jdoe": "28.0", "rroe": "12.0", "mmoe": "0.0"}
    assert column(place / "canvas.csv", f"{ASSIGNMENT} (77)") == ["28.00", "28", "", ""]
    assert column(place / "moodle.csv", "Grade") == ["28", ""]
    assert printed.count("they have answers that wait for a person's grade: rroe.") == 2
    with Gradebook(f"sqlite:///{place}/gradebook.db", "fine-tuning") as gradebook:
        assert str(gradebook.find_assignment(ASSIGNMENT).duedate) == "2026-03-01 23:59:00"
        assert gradebook.find_student("jdoe").last_name == "Doe"


def download(course):
    """Two students' answers, as Canvas packs them, and the grade files of Canvas and Moodle."""
    release = nbformat.read(course / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    texts = [
        nbformat.writes(answers.fill(release, answers.parse((ROOT / "data" / "sample_class" / f"{name}.md").read_text())))
        for name in ("right-with-decay-groups", "default-learning-rate")
    ]  # fmt: skip
    pack(course, ASSIGNMENT, {
        f"doejane_12345_9001_{ASSIGNMENT}-1.ipynb": texts[0], f"roerick_LATE_12346_9002_{ASSIGNMENT}.ipynb": texts[1],
    })  # fmt: skip
    place = course / "downloaded" / ASSIGNMENT / "archive"
    (place / "worksheet.csv").write_text(MOODLE.format(points="28.00"))
    (place / "Grades.csv").write_text(CANVAS.format(title=ASSIGNMENT, points="28.00"))


@pytest.mark.parametrize("command", re.findall(r"`((?:nbgrader|autograder) [a-z_-]+)", DOCUMENT.read_text()))
def test_commands_that_the_text_names_are_there(command):
    from nbgrader.apps.nbgraderapp import NbGraderApp

    from autograder.grading.app import Autograder

    program, name = command.split()
    known = Autograder.subcommands if program == "autograder" else NbGraderApp().subcommands
    assert name in known


# --- Each system, from its download to its grade file

FILES = {
    "Canvas": ["doejane_12345_9001_{}.ipynb", "roerick_LATE_12346_9002_{}.ipynb"],
    "Moodle": ["Jane Doe_501_assignsubmission_file_/{}.ipynb", "Rick Roe_502_assignsubmission_file_/{}.ipynb"],
    "Gradescope": ["a/submission_987/{}.ipynb", "a/submission_988/{}.ipynb", "a/submission_metadata.yml"],
}


@pytest.fixture(scope="module")
def term(tmp_path_factory):
    """A course with a small assignment, and what one student wrote in it and another did."""
    course = Course.copy(tmp_path_factory.mktemp("term"))
    (course.folder / "solutions" / ORDINARY).mkdir()
    nbformat.write(source(), course.folder / "solutions" / ORDINARY / f"{ORDINARY}.ipynb")
    (course.folder / "downloaded" / ORDINARY / "archive").mkdir(parents=True)
    with open(course.folder / "nbgrader_config.py", "a") as config:
        config.write("c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    for command in (
        ("nbgrader", "generate_assignment", ORDINARY),
        ("nbgrader", "db", "assignment", "add", ORDINARY, "--duedate=2026-03-01 23:59 UTC"),
    ):
        status, printed = course.run(*command)
        assert status == 0, printed
    return course


@pytest.mark.parametrize("system", FILES)
def test_from_download_to_upload(term, system):
    folder = term.folder
    notebook = nbformat.read(folder / "notebooks" / ORDINARY / f"{ORDINARY}.ipynb", as_version=4)
    texts = []
    for answer in ("return sum(values) / len(values)", "return sum(values)"):
        notebook.cells[1].source = f"def mean(values):\n    {answer}"
        notebook.cells[-1].source = "It is what is left of many."
        texts.append(nbformat.writes(notebook))
    files = dict(zip((name.format(ORDINARY) for name in FILES[system]), [*texts, METADATA]))
    pack(folder, ORDINARY, files)
    place, upload = folder / "downloaded" / ORDINARY / "archive", "Moodle" if system == "Moodle" else "Canvas"
    sheet = MOODLE.format(points="10.50") if upload == "Moodle" else CANVAS.format(title="Means", points="10.50")
    if system == "Gradescope":
        sheet = sheet.replace("jdoe", "jane@uni.edu").replace("rroe", "rick@uni.edu")
    for old in place.glob("*.csv"):
        old.unlink()
    (place / "Grades.csv").write_text(sheet)

    def run(*command):
        status, printed = term.run(*command)
        assert status == 0 and "Traceback" not in printed, printed
        return " ".join(printed.split())

    run("nbgrader", "zip_collect", ORDINARY, "--force")
    run("autograder", "grade", ORDINARY)
    students = ("jdoe", "rroe") if system == "Canvas" else ("jane@uni.edu", "rick@uni.edu")
    export = "nbgrader", "export", f"--exporter=autograder.grading.export.{upload}Export", "--assignment", ORDINARY
    said = run(*export)
    assert f"wait for a person's grade: {', '.join(students)}." in said
    grade_by_hand(folder, ORDINARY, students, 4)
    run(*export)
    name = "Grade" if upload == "Moodle" else "Means (77)"
    found = column(folder / f"{upload.lower()}.csv", name)
    # Who was late loses all, where the system tells when it was.
    assert found[-2 if upload == "Moodle" else 1 :][:2] == ["10.5", "0" if system == "Gradescope" else "5.5"]
    if system == "Gradescope":
        files["a/submission_987/more.txt"] = "handed in again"
        pack(folder, ORDINARY, files)
        run("nbgrader", "zip_collect", ORDINARY, "--force")
        assert "graded already and unchanged" in run("autograder", "grade", ORDINARY)
        run(*export)  # points given by hand are still there
        assert column(folder / "canvas.csv", name)[1] == "10.5"
