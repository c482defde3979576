"""Before a class is graded: what is not in order is one sentence, and nobody is graded."""

import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import classes
import nbformat
import pytest
from bad_inputs import LOOP, OPTIMIZER, TEST, cell
from conftest import ASSIGNMENT, RELEASE, ROOT, Course
from filelock import FileLock
from nbgrader.api import Gradebook

from autograder.grading.state import State
from autograder.tinybert.lesson import CHECKS

NOTEBOOK = Path(ASSIGNMENT, RELEASE.name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two courses of three students, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    return {name: classes.course(folder / name, 3, light=name == "light") for name in ("course", "light")}


@pytest.fixture
def course(made, tmp_path):
    return Course(shutil.copytree(made["course"], tmp_path / "course"))


@pytest.fixture
def light(made, tmp_path):
    """A course whose notebooks take no time, and whose solution gets no points on purpose."""
    return Course(shutil.copytree(made["light"], tmp_path / "light"))


def graded(course):
    """Return {student: points of each cell} of the gradebook."""
    return classes.scores(course.folder)


def refused(course, *words, command=("autograder", "grade"), before=0):
    """Assert that a command grades nobody, and says so in one sentence that holds these words."""
    status, printed = course.run(*command)
    assert status == 2, printed
    sentences = [line for line in printed.splitlines() if "ERROR" in line]
    assert len(sentences) == 1 and all(word in sentences[0] for word in words), printed
    assert "Traceback" not in printed
    assert sum(any(p is not None for p in points.values()) for points in graded(course).values()) == before
    if command[0] == "autograder":
        assert (course.folder / "report.html").exists()


def change(course, alter, step="solutions"):
    """Change a notebook of the course; return what puts it back."""
    path = course.folder / step / NOTEBOOK
    text = path.read_text()
    notebook = nbformat.reads(text, 4)
    alter(notebook)
    nbformat.write(notebook, path)
    return lambda: path.write_text(text)


def replace(name, old, new):
    def alter(notebook):
        assert old in cell(notebook, name).source
        cell(notebook, name).source = cell(notebook, name).source.replace(old, new)

    return alter


def worth(points):
    return lambda notebook: cell(notebook, TEST).metadata.nbgrader.update(points=points)


def rename(name, other):
    return lambda notebook: cell(notebook, name).metadata.nbgrader.update(grade_id=other)


def add_test(notebook):
    twin = nbformat.from_dict(cell(notebook, TEST).copy())
    twin.metadata = {"nbgrader": {**twin.metadata.nbgrader, "grade_id": "test_of_my_own"}}
    twin.source, twin.id = "assert callable(train_tinybert)", "mine"
    notebook.cells.insert(notebook.cells.index(cell(notebook, TEST)) + 1, nbformat.from_dict(twin))


@pytest.fixture
def checkout(course, tmp_path, monkeypatch):
    """The course as a checkout of its own, with its own package and data."""
    shutil.copytree(ROOT / "autograder", course.folder / "autograder", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data", course.folder / "data")
    monkeypatch.setenv("PYTHONPATH", str(course.folder))
    return course


def test_a_missing_model_grades_nobody_and_once_it_is_back_everybody_rightly(checkout):
    model = checkout.folder / "data" / "tinybert" / "model.safetensors"
    model.rename(model.with_suffix(".elsewhere"))
    refused(checkout, "model.safetensors")
    model.with_suffix(".elsewhere").rename(model)
    status, printed = checkout.run("autograder", "grade")
    assert status == 0, printed
    assert {student: list(row.points.values()) for student, row in checkout.rows().items()} == {
        "student-0000": [3, 0, 6, 3], "student-0001": [1, 2, 6, 3], "student-0002": [3, 2, 4, 3],
    }  # fmt: skip
    # Without what the solution left, nobody could be marked for a look.
    assert State(checkout.folder, ASSIGNMENT).evidence[ASSIGNMENT].keys() == CHECKS.keys()
    model.unlink()  # what is graded stays as it is, though nothing new can be
    refused(checkout, "model.safetensors", before=3)
    assert all(row.graded for row in checkout.rows().values())


def test_another_checkouts_package_grades_nobody(checkout, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    for command in (("autograder", "grade"), ("nbgrader", "autograde", ASSIGNMENT)):
        refused(checkout, "activate the course's environment", command=command)


def test_a_changed_rate_or_cell_is_named(course):
    put_back = change(course, replace(OPTIMIZER, "lr=2.5e-3", "lr=1e-3"))
    for command in (("autograder", "grade"), ("nbgrader", "autograde", ASSIGNMENT)):
        refused(course, "`test_learning_rate`", "0.001", "0.0025", f"solutions/{NOTEBOOK}", command=command)
    put_back()
    put_back = change(course, rename(TEST, "test_of_another_name"))
    refused(course, "`test_of_another_name` calls a check", f"`{TEST}`")
    put_back()
    put_back = change(course, lambda notebook: notebook.metadata.autograder.update(lesson="no-such"))
    refused(course, "lesson `no-such`")
    put_back()
    put_back = change(course, replace("model", "fresh_model(SEED)", "fresh_model(SEED, 7)"))
    refused(course, "`model`")
    put_back()
    assert course.run("autograder", "grade")[0] == 0
    assert len(graded(course)) == 3


def test_points_are_the_source_cells_and_asserts_may_stand_beside_checks(course):
    change(course, add_test)
    for points, lost in ((10, 6.67), (4, 2.67)):
        change(course, worth(points))
        for command in (("nbgrader", "generate_assignment", ASSIGNMENT), ("autograder", "grade")):
            status, printed = course.run(*command)
            assert status == 0, printed
        assert {student: list(row.points.values()) for student, row in course.rows().items()} == {
            "student-0000": [3, 0, points, 6, 3], "student-0001": [1, 2, points, 6, 3],
            "student-0002": [3, 2, lost, 6, 3],
        }  # fmt: skip


def test_another_rate_in_the_lesson_and_the_solution(checkout):
    lesson = checkout.folder / "autograder" / "tinybert" / "lesson.py"
    lesson.write_text(lesson.read_text().replace("LEARNING_RATE = 2.5e-3", "LEARNING_RATE = 1e-3"))
    change(checkout, replace(OPTIMIZER, "lr=2.5e-3", "lr=1e-3"))
    status, printed = checkout.run("autograder", "grade")
    assert status == 0, printed
    assert {student: row.points["test_learning_rate"] for student, row in checkout.rows().items()} == {
        "student-0000": 2, "student-0001": 0, "student-0002": 0,
    }  # fmt: skip


def test_points_that_the_solution_misses_on_purpose(course):
    change(course, replace(LOOP, "optimizer.zero_grad()", "pass"))
    refused(course, f"`{TEST}`", "4 of 6")
    with open(course.folder / "nbgrader_config.py", "a") as config:
        config.write(f'\nc.SolutionCheck.expected = {{"{TEST}": 4, "test_loss_history": 3}}\n')
    status, printed = course.run("autograder", "grade")
    assert status == 0, printed


def test_the_solution_is_graded_once(light):
    assert light.run("autograder", "grade")[0] == 0
    change(light, replace(OPTIMIZER, "lr=2.5e-3", "lr=2.5e-3 "))
    status, printed = light.run("autograder", "grade")
    assert status == 0 and "graded already" not in printed  # another solution: everybody again
    status, printed = light.run("autograder", "grade")
    assert "3 submissions graded already" in printed


def test_two_runs_at_once_are_kept_apart(light):
    (light.folder / ".autograder").mkdir(exist_ok=True)
    with FileLock(light.folder / ".autograder" / f"{ASSIGNMENT}.lock"):
        refused(light, "Another `autograder grade` is at work", "wait")
    assert light.run("autograder", "grade")[0] == 0


def test_a_source_that_is_not_the_release_is_said(light):
    def ask(notebook):
        cell(notebook, "ask_smooth").source += " Why?"

    put_back = change(light, ask)
    refused(light, "has changed since", f"nbgrader generate_assignment {ASSIGNMENT}")
    assert light.run("nbgrader", "generate_assignment", ASSIGNMENT)[0] == 0
    assert light.run("autograder", "grade")[0] == 0
    put_back()


def test_cells_that_come_after_submissions_are_said(light):
    assert light.run("autograder", "grade")[0] == 0
    release = (light.folder / "notebooks" / NOTEBOOK).read_bytes()
    put_back = change(light, lambda notebook: notebook.cells.remove(cell(notebook, "reflect_lower")))
    status, printed = light.run("nbgrader", "generate_assignment", ASSIGNMENT)
    assert status == 1 and "`reflect_lower`" in printed and "3 submissions" in printed
    assert "Traceback" not in printed
    assert (light.folder / "notebooks" / NOTEBOOK).read_bytes() == release  # nothing is half-written
    put_back()
    assert light.run("nbgrader", "generate_assignment", ASSIGNMENT)[0] == 0
    assert "3 submissions graded already" in light.run("autograder", "grade")[1]


@pytest.mark.parametrize("released", [True, False])
def test_a_fresh_clone_is_graded_without_another_command(light, released):
    (light.folder / "gradebook.db").unlink()
    if not released:
        shutil.rmtree(light.folder / "notebooks")
    assert light.run("autograder", "grade")[0] == 0 and len(graded(light)) == 3
    assert (light.folder / "notebooks" / NOTEBOOK).exists()
    assert "3 submissions graded already" in light.run("autograder", "grade")[1]
    (light.folder / "gradebook.db").unlink()  # a new one is told of the assignment, too
    assert light.run("autograder", "grade")[0] == 0 and len(graded(light)) == 3
    assert not any(row.not_graded for row in light.rows().values())


def test_a_fresh_clone_has_its_assignment_made_though_there_is_a_release(light):
    (light.folder / "gradebook.db").unlink()
    status, printed = light.run("nbgrader", "generate_assignment", ASSIGNMENT)
    assert status == 0, printed
    with Gradebook(f"sqlite:///{light.folder}/gradebook.db", "fine-tuning") as gradebook:
        assert gradebook.find_assignment(ASSIGNMENT).max_score == 28


def test_nothing_submitted_and_unknown_assignments_are_said(light):
    status, printed = light.run("autograder", "grade", "09_other")
    assert status == 2 and "no assignment `09_other`" in printed and ASSIGNMENT in printed
    for arguments in (("a", "b"), (ASSIGNMENT, "--assignment=09_other"), ("a+b",)):
        status, printed = light.run("autograder", "grade", *arguments)
        assert status and "Traceback" not in printed and not graded(light), printed
    status, printed = light.run("autograder", "grade", "--student=nobody")
    assert status == 2 and "nothing to grade" in printed and "nobody" in printed
    shutil.rmtree(light.folder / "submitted")
    status, printed = light.run("autograder", "grade")
    assert status == 2 and "submitted/<student>" in printed and "Traceback" not in printed
    (light.folder / "report.html").write_text("of before")
    for command in ("report", "reflections", "release"):
        status, printed = light.run("autograder", command, "09_other")
        assert status == 1 and f"did you mean `{ASSIGNMENT}`?" in printed, printed
    assert (light.folder / "report.html").read_text() == "of before"
    status, printed = light.run("autograder", "reprot")
    assert status == 2 and "There is no command `reprot`: did you mean `report`?" in printed


def test_settings_and_places_that_cannot_be_are_said(light):
    for arguments, sentence in (
        (("grade", "--workers=0"), "'workers'"), (("grade", "--workers=many"), "'workers'"),
        (("grade", "--db=nonsense"), "No gradebook is at such a --db"), (("report", "--db=nonsense"), "such a --db"),
        (("sample-class",), "no data/sample_class"), (("grade", "--studnt=x"), "did you mean --student?"),
        (("report", "--studnt", "x"), "there is no option --studnt"), (("export",), "`nbgrader export`"),
    ):  # fmt: skip
        status, printed = light.run("autograder", *arguments)
        assert status and sentence in printed and "Traceback" not in printed, printed
    shutil.copytree(ROOT / "data" / "sample_class", light.folder / "data" / "sample_class")
    before = (light.folder / "solutions" / NOTEBOOK).stat()
    for place in (".", "notebooks"):  # whose course it is
        status, printed = light.run("autograder", "sample-class", place)
        assert status == 1 and "no sample class: name a new folder" in printed, printed
    for _ in range(2):
        assert light.run("autograder", "sample-class", "sample")[0] == 0
    assert (light.folder / "solutions" / NOTEBOOK).stat() == before and not graded(light)


def test_a_submission_that_missed_its_place_has_a_row(light):
    moved = light.folder / "submitted" / "student-0002"
    (moved / ASSIGNMENT).rename(moved / "08_tinybert_finetuning")
    status, printed = light.run("autograder", "grade")
    assert status == 1 and len(graded(light)) == 2
    assert "student-0002 was not graded: There is no submitted/student-0002" in printed
    assert "2 of 3 students graded" in printed and "08_tinybert_finetuning" in light.rows()["student-0002"].not_graded


def test_a_released_notebook_that_was_worked_in_is_not_overwritten(light):
    path = light.folder / "notebooks" / NOTEBOOK
    notebook = nbformat.read(path, as_version=4)
    cell(notebook, OPTIMIZER).update(source="optimizer = 1", execution_count=3)
    nbformat.write(notebook, path)
    before = path.read_bytes()
    status, printed = light.run("autograder", "release")
    assert status == 1 and "has been worked in" in printed and "--force" in printed, printed
    assert path.read_bytes() == before and not (light.folder / "release.zip").exists()
    status, printed = light.run("autograder", "release", "--force")
    assert status == 0 and "release.zip" in printed and "WARNING" not in printed, printed
    assert b"optimizer = 1" not in path.read_bytes()


def test_no_execute_is_refused(light):
    for command in (("autograder", "grade"), ("nbgrader", "autograde", ASSIGNMENT)):
        refused(light, "--no-execute", command=(*command, "--no-execute"))


def test_without_a_sandbox_the_command_and_the_report_say_so(light, tmp_path, monkeypatch):
    (tmp_path / "landlockpy.py").write_text("raise ImportError('there is none here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for command in (("autograder", "grade", "--student=student-0001"), ("nbgrader", "autograde", ASSIGNMENT, "--force")):
        status, printed = light.run(*command)
        assert status == 0 and "No sandbox, because there is none here" in printed, printed
    assert light.run("autograder", "report")[0] == 0
    assert "None ran in a sandbox" in (light.folder / "report.html").read_text()


def test_a_part_of_a_submission_is_refused(light):
    refused(light, "--notebook", command=("autograder", "grade", "--notebook=x"))


def test_a_scheduler_that_nobody_answers_at_is_said_soon(light):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"tcp://127.0.0.1:{port}", "nonsense"):
        refused(light, address, command=("autograder", "grade", "--scheduler", address))


def test_a_locked_gradebook_is_waited_for(light):
    assert light.run("autograder", "grade", "--student=student-0001")[0] == 0
    with sqlite3.connect(light.folder / "gradebook.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        process, printed = light.start("autograder", "grade"), ""
        for line in process.stdout:
            printed += line
            if "locked the gradebook" in line:
                other.execute("COMMIT")
    status = process.wait()
    assert status == 0 and "locked the gradebook" in printed and len(graded(light)) == 3


def test_a_gradebook_that_is_none_is_said(light):
    (light.folder / "gradebook.db").write_text("no database")
    status, printed = light.run("autograder", "grade")
    assert status == 2 and "gradebook.db cannot be used" in printed and "Traceback" not in printed


def test_a_full_disk_is_said_and_nothing_is_half_written(light):
    """The system's answer is made up: what writes a graded notebook finds no room."""
    program = Path(sys.executable).parent / "autograder"
    code = (
        "import errno, os, sys\n"
        "from autograder.grading.grade import Grade\n"
        "def full(*_, **__): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'autograded')\n"
        "Grade.write_single_notebook = full\n"
        f"sys.argv = ['{program}', 'grade']\n"
        "from autograder.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=light.folder, capture_output=True, text=True, env=classes.environment()
    )
    assert done.returncode == 2 and "The disk is full" in done.stderr and "Traceback" not in done.stderr
    assert graded(light) == {}
    assert not [path for path in (light.folder / "autograded").rglob("*") if path.is_file()]
    assert light.run("autograder", "grade")[0] == 0 and len(graded(light)) == 3


def test_the_configuration_that_counts_grades_again(light):
    assert light.run("autograder", "grade")[0] == 0
    assert "3 submissions graded already" in light.run("autograder", "grade", "--workers", "1")[1]
    for line in ("c.Execute.timeout = 31", 'c.AssignLatePenalties.plugin_class = "late.Penalty"'):
        (light.folder / "late.py").write_text(
            "from nbgrader.plugins import BasePlugin\n\nclass Penalty(BasePlugin):\n"
            "    def late_submission_penalty(self, student, score, seconds):\n        return None\n"
        )
        with open(light.folder / "nbgrader_config.py", "a") as config:
            config.write(f"\n{line}\n")
        status, printed = light.run("autograder", "grade")
        assert status == 0 and "graded already" not in printed, printed


def test_points_given_by_hand_stay_and_wait_only_if_the_answer_has_changed(light):
    assert light.run("autograder", "grade")[0] == 0
    names = "reflect_smooth", ASSIGNMENT, ASSIGNMENT, "student-0001"

    def look(change=lambda grade, comment: None):
        with Gradebook(f"sqlite:///{light.folder}/gradebook.db", "fine-tuning") as gradebook:
            grade, comment = gradebook.find_grade(*names), gradebook.find_comment(*names)
            change(grade, comment)
            gradebook.db.commit()
            return grade.manual_score, comment.manual_comment, grade.needs_manual_grade

    def give(grade, comment):
        grade.manual_score, grade.needs_manual_grade, comment.manual_comment = 1.5, False, "Good."

    look(give)
    assert light.run("autograder", "grade", "--force")[0] == 0
    assert look() == (1.5, "Good.", False)
    path = light.folder / "submitted" / "student-0001" / NOTEBOOK
    notebook = nbformat.read(path, 4)
    cell(notebook, "reflect_smooth").source = "Another answer."
    nbformat.write(notebook, path)
    assert light.run("autograder", "grade")[0] == 0
    assert look() == (1.5, "Good.", True)


def test_who_was_asked_for_decides_the_status(light):
    """One student's empty folder is no failure of another's."""
    empty = light.folder / "submitted" / "empty" / ASSIGNMENT
    empty.mkdir(parents=True)
    assert light.run("autograder", "grade")[0] == 1
    status, printed = light.run("autograder", "grade", "--student=student-0001", "--force")
    assert status == 0 and "empty" not in printed
    assert light.rows()["empty"].not_graded
    empty.rmdir()
    assert light.run("autograder", "grade")[0] == 0
    assert light.rows().get("empty") is None


def test_a_source_that_makes_no_assignment_is_said(light):
    change(light, replace(OPTIMIZER, "### END SOLUTION", ""))
    refused(light, "No assignment can be made", f"nbgrader generate_assignment {ASSIGNMENT}")


def test_the_report_is_there_even_if_the_grader_fails(light):
    code = (
        "import sys\nfrom autograder.grading import grade\n"
        "def fail(*_): raise RuntimeError('a fault of its own')\n"
        "grade.Grade.record = fail\n"
        "sys.argv = ['autograder', 'grade']\nfrom autograder.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=light.folder, capture_output=True, text=True, env=classes.environment()
    )
    assert done.returncode == 1 and done.stdout.count("a fault of its own") == 3
    assert (light.folder / "report.html").read_text().count("a fault of its own") >= 3
