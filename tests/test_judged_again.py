"""A course that changes what reaches a verdict, and nothing that was run: the evidence is judged again."""

import json
import re
import shutil
from datetime import datetime

import nbformat
import pytest
from conftest import ASSIGNMENT, RELEASE, ROOT, Course
from nbgrader.api import Gradebook

from autograder.grading import answers
from autograder.grading.rubrics import is_rubric
from autograder.grading.state import State

ANSWERS = ("right-first-time", "forgot-zero-grad", "syntax-error", "untouched")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A graded class, whose notebooks say when they were run."""
    folder = tmp_path_factory.mktemp("answers")
    for name in ANSWERS:
        text = (ROOT / "data" / "sample_class" / f"{name}.md").read_text()
        text = re.sub(r"(## todo1_optimizer\n+```python\n)", r"\1import time; print('run at', time.time_ns())\n", text)
        (folder / f"{name}.md").write_text(text)
    course = Course.copy(tmp_path_factory.mktemp("course"))
    answers.build_class(folder, RELEASE, course.folder / "submitted", ASSIGNMENT)
    status, printed = course.run("autograder", "grade")
    assert status == 0, printed
    return course


def notebook(course, student):
    return nbformat.read(course.folder / "autograded" / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)


def shown(course):
    """Return {student: [what each code cell shows, in words]}."""
    return {
        student: [
            [output.get("text") or output.get("evalue") or output.get("data", {}).get("text/plain") for output in cell.outputs]
            for cell in notebook(course, student).cells
            if cell.cell_type == "code"
        ]
        for student in ANSWERS
    }  # fmt: skip


def set_up(course, line):
    """Grade the class with a line more in its configuration; return the exit status and what was printed."""
    config = (ROOT / "nbgrader_config.py").read_text()
    (course.folder / "nbgrader_config.py").write_text(f"{config}\n{line}\n")
    return course.run("autograder", "grade")


def test_a_rule_that_does_not_count_costs_nothing_and_runs_nothing(course):
    before, first = shown(course), course.rows()
    assert first["forgot-zero-grad"].total < 14
    status, printed = set_up(course, "c.ScoreCells.without = ['zero_grad']")
    assert status == 0, printed
    rows, after = course.rows(), shown(course)
    assert rows["forgot-zero-grad"].total == 14 and rows["forgot-zero-grad"].mistakes == []
    assert sum(map(is_rubric, notebook(course, "forgot-zero-grad").cells)) == 7
    for student in set(ANSWERS) - {"forgot-zero-grad"}:
        assert after[student] == before[student] and rows[student] == first[student]
    assert [cell[:1] for cell in after["forgot-zero-grad"]][:8] == [cell[:1] for cell in before["forgot-zero-grad"]][:8]

    status, printed = set_up(course, "")
    assert status == 0 and course.rows() == first and shown(course) == before


def test_a_name_that_is_no_rule_stops_before_anybody_is_graded(course):
    status, printed = set_up(course, "c.ScoreCells.without = ['zerograd']")
    assert status == 2 and "names `zerograd`, and the lesson has no rule of that name" in printed
    assert set_up(course, "")[0] == 0


def test_what_running_depends_on_runs_it_again(course):
    before = shown(course)["right-first-time"]
    status, printed = set_up(course, "c.Execute.timeout = 29")
    assert status == 0 and shown(course)["right-first-time"] != before, printed


def test_a_penalty_goes_when_the_course_has_none_any_more(course):
    late = course.folder / "submitted" / "right-first-time" / ASSIGNMENT / "timestamp.txt"
    late.write_text("2026-01-02 10:00:00 UTC")
    with Gradebook(f"sqlite:///{course.folder}/gradebook.db", "fine-tuning") as gradebook:
        gradebook.find_assignment(ASSIGNMENT).duedate = datetime(2026, 1, 1)
        gradebook.db.commit()
    status, printed = set_up(course, "c.LateSubmissionPlugin.penalty_method = 'zero'")
    assert status == 0 and course.rows()["right-first-time"].penalty == 14, printed
    assert set_up(course, "")[0] == 0 and course.rows()["right-first-time"].penalty == 0


def test_students_get_no_evidence(course):
    for student in ANSWERS:
        text = json.dumps(notebook(course, student))
        assert "evidence+json" not in text


def test_a_student_is_forgotten(course):
    path = State(course.folder, ASSIGNMENT).evidence_path("untouched")
    others = State(course.folder, ASSIGNMENT).evidence_path("right-first-time")
    assert path.exists()
    own = course.folder / "submitted" / "untouched"
    shutil.copytree(own, course.folder / "kept")
    (own / "08 (1)").mkdir()  # what missed its place is theirs, too
    for nobody, answer in (("..", "`..`."), (".", "`.`."), ("untuoched", "did you mean `untouched`?")):
        status, printed = course.run("autograder", "forget", nobody, "--yes")
        assert status == 1 and answer in printed and own.exists() and path.exists(), printed
    status, printed = course.run("autograder", "forget", "untouched", "--yes")
    assert status == 0 and "submitted/untouched\n" in printed
    left = [found for found in course.folder.rglob("*untouched*")]
    assert left == [] and others.exists()
    assert "untouched" not in course.rows() and "untouched" not in (course.folder / "report.html").read_text()
    status, printed = course.run("autograder", "forget", "untouched", "--yes")
    assert status == 1 and "nothing of `untouched`" in printed
