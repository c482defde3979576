"""The report's rows: everyone has one, and its points are the gradebook's, whatever lies in the folders."""

import json
import os
import re
from datetime import timedelta

import classes
import nbformat
import pytest
from conftest import ASSIGNMENT, RELEASE, Course
from gradebooks import BY_HAND, DUE, LESSON, TESTS, lay, make, opened, put
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import BasePlugin
from traitlets.config import Config

from autograder.grading import feedback
from autograder.grading.page import page
from autograder.grading.penalties import GetGrades
from autograder.grading.read import grade_id
from autograder.grading.report import Row, rows, table
from autograder.grading.state import State
from autograder.tinybert.judge import Finding
from autograder.verdict import Verdict

BESIDE = "bad\x1b[31m[a-z]\n{x} \u202e"
TENTH = Config({"AssignLatePenalties": {"plugin_class": "test_report.TenthADay"}})


def by_student(course, assignment=LESSON):
    """Return {student: Row}, after a look at whether table and page can show them."""
    cells, found, by_hand = rows(course, assignment)
    table(cells, found, by_hand)
    page(assignment, cells, found, by_hand)
    assert len({row.student for row in found}) == len(found)
    return {row.student: row for row in found}


def graded(notes=None, cells=()):
    notebook = new_notebook(cells=list(cells))
    notebook.metadata["autograder"] = {} if notes is None else notes
    return json.dumps(notebook).encode()


# --- Who has a row


def test_everyone_has_a_row(tmp_path):
    course = make(tmp_path, "graded", "away")
    bytes_name = os.fsdecode(b"\xff\xfe")
    for student in ("graded", "new", BESIDE, bytes_name):
        lay(tmp_path, "submitted", student, {f"{LESSON}.ipynb": b"{}"})
    lay(tmp_path, "autograded", "only-graded", {f"{LESSON}.ipynb": graded()})
    (tmp_path / "submitted" / "a-file").mkdir(parents=True)
    (tmp_path / "submitted" / "a-file" / LESSON).write_text("no folder")
    with opened(course) as gradebook:
        gradebook.add_student("enrolled")
    found = by_student(course)
    assert set(found) == {"graded", "away", "new", BESIDE, bytes_name, "only-graded", "a-file", "enrolled"}
    assert {s for s, row in found.items() if row.graded} == {"graded", "away"}
    assert {s for s, row in found.items() if row.submitted} == {"graded", "new", BESIDE, bytes_name, "a-file"}
    assert {s for s, row in found.items() if row.not_graded} == {"new", BESIDE, bytes_name, "a-file"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "empty"),
        ({"a.zip": b""}, "only `a.zip`"),
        ({f"{LESSON}.ipynb": b""}, "not graded yet"),
        ({"other (1).ipynb": b""}, "not graded yet"),
    ],
)
def test_why_there_is_no_grade(tmp_path, files, words):
    course = make(tmp_path)
    lay(tmp_path, "submitted", "ada", files)
    assert words in by_student(course)["ada"].not_graded


def test_a_link_is_not_followed(tmp_path):
    course = make(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.txt").write_text("")
    (tmp_path / "submitted" / "ada").mkdir(parents=True)
    (tmp_path / "submitted" / "ada" / LESSON).symlink_to(tmp_path / "elsewhere")
    said = by_student(course)["ada"].not_graded
    assert "link" in said and "secret" not in said


def test_what_grading_said_is_shown_beside_an_earlier_grade(tmp_path):
    course = make(tmp_path, "ada", "ben")
    for student in ("ada", "ben", "cleo"):
        lay(tmp_path, "submitted", student, {f"{LESSON}.ipynb": b"{}"})
    state = State(tmp_path, LESSON)
    state.not_graded = {"ada": "The notebook is a picture.", "cleo": "It is a pipe."}
    state.save()
    found = by_student(course)
    said = {student: (row.not_graded, row.graded, row.total) for student, row in found.items()}
    assert said == {
        "ada": ("The notebook is a picture.", True, 14),
        "ben": (None, True, 14),
        "cleo": ("It is a pipe.", False, 0),
    }


def test_without_a_gradebook_and_without_the_assignment(tmp_path):
    for course in (CourseDirectory(root=str(tmp_path)), make(tmp_path, assignment="another")):
        lay(tmp_path, "submitted", "ben", {f"{LESSON}.ipynb": b"{}"})
        row = by_student(course)["ben"]
        assert not row.graded and row.not_graded


# --- Points


def test_points_are_the_gradebooks(tmp_path):
    course = make(tmp_path, "ada")
    with opened(course) as gradebook:
        put(gradebook, "ada", "test_one", manual_score=1.0, extra_credit=0.5)
        put(gradebook, "ada", "reflect_one", manual_score=4.0, needs_manual_grade=False)
    cells, (row,), by_hand = rows(course, LESSON)
    assert (cells, by_hand) == (TESTS, BY_HAND)
    assert row.points == {"test_one": 1.5, "test_two": 11.0}
    assert row.manual == {"reflect_one": 4.0, "reflect_two": None}
    assert (row.total, row.by_hand, row.waiting, row.grade) == (12.5, 4.0, 1, 16.5)


def test_points_for_an_earlier_answer_count_until_somebody_has_looked(tmp_path):
    course = make(tmp_path, "ada")
    with opened(course) as gradebook:
        put(gradebook, "ada", "reflect_one", manual_score=4.0, needs_manual_grade=True)
        score = gradebook.find_submission(LESSON, "ada").score
    row = by_student(course)["ada"]
    assert row.grade == score == 18 and (row.by_hand, row.waiting) == (4, 2)


def test_what_waits_for_a_look(tmp_path):
    course = make(tmp_path, "marked", "looked", "changed")
    with opened(course) as gradebook:
        put(gradebook, "marked", "test_two", auto_score=11.0, needs_manual_grade=True)
        put(gradebook, "looked", "test_two", auto_score=0.0, manual_score=0.0, needs_manual_grade=False)
        put(gradebook, "changed", "test_two", auto_score=0.0, manual_score=9.0, needs_manual_grade=True)
    found = by_student(course)
    assert {s: (row.marked, row.again, row.grade) for s, row in found.items()} == {
        "marked": (1, 0, 14.0), "looked": (0, 0, 3.0), "changed": (0, 1, 12.0)
    }  # fmt: skip


def test_a_submission_that_was_never_graded_has_no_points(tmp_path):
    course = make(tmp_path, "ada")
    lay(tmp_path, "submitted", "ada", {f"{LESSON}.ipynb": b"{}"})
    with opened(course) as gradebook:
        for name in TESTS:
            put(gradebook, "ada", name, auto_score=None, needs_manual_grade=True)
    row = by_student(course)["ada"]
    assert not row.graded and row.not_graded and (row.waiting, row.marked) == (0, 0)


def test_two_notebooks(tmp_path):
    course = make(tmp_path, "ada", notebooks=("first", "second"))
    (tmp_path / "feedback" / "ada" / LESSON).mkdir(parents=True)
    (tmp_path / "feedback" / "ada" / LESSON / "second.html").write_text("")
    notebooks = {name: graded({"seconds": 1.0, "limits": [name]}) for name in ("first.ipynb", "second.ipynb")}
    lay(tmp_path, "autograded", "ada", notebooks)
    row = by_student(course)["ada"]
    assert row.points == {f"{n}: {cell}": TESTS[cell] for n in ("first", "second") for cell in TESTS}
    assert row.total == 28 and row.limits == list(notebooks) and not row.remarks
    assert row.feedback == f"feedback/ada/{LESSON}/second.html"


# --- What graded notebooks say

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        None, b"", b"{", b"\xff\xfe\x00", DEEP, b"[]", b'{"cells": 3, "nbformat": 4}',
        b'{"metadata": {"autograder": []}, "nbformat": 4, "nbformat_minor": 5, "cells": [{"cell_type": "code"}]}',
    ],
)  # fmt: skip
def test_a_graded_notebook_that_is_damaged_costs_no_points(tmp_path, content):
    course = make(tmp_path, "ada", "ben")
    lay(tmp_path, "autograded", "ada", {} if content is None else {f"{LESSON}.ipynb": content})
    lay(tmp_path, "autograded", "ben", {f"{LESSON}.ipynb": graded({"seconds": 2.0})})
    found = by_student(course)
    words = "There is no graded" if content is None else "grade this submission again"
    assert found["ada"].total == 14 and words in found["ada"].remarks[0]
    assert found["ben"].seconds == 2.0 and not found["ben"].remarks


@pytest.mark.parametrize(
    "notes",
    [
        {"seconds": "x", "losses": ["a", None], "limits": 5, "remarks": {}, "sandbox": "yes"},
        {"seconds": [1], "losses": "0.7", "limits": [None, 3], "sandbox": 1},
        {
            "seconds": 10**400,
            "losses": [10**400, float("nan"), float("inf")],
            "limits": None,
            "remarks": [[]],
        },
    ],
)
def test_notes_of_strange_types(tmp_path, notes):
    course = make(tmp_path, "ada")
    lay(tmp_path, "autograded", "ada", {f"{LESSON}.ipynb": graded(notes)})
    row = by_student(course)["ada"]
    assert row.total == 14 and row.seconds is None and row.sandbox is None
    assert "cannot be read" not in str(row.remarks)
    assert all(isinstance(sentence, str) for sentence in row.limits + row.remarks)


def test_remarks_are_no_mistakes(tmp_path):
    course = make(tmp_path, "ada")
    test = new_code_cell(outputs=[new_output("error", ename="E", evalue="It broke.", traceback=[])])
    test.metadata["nbgrader"] = {"grade": True, "solution": False, "grade_id": "test_one"}
    notes = {"remarks": ["Its name was another."], "sandbox": False, "limits": ["Refused: x"]}
    lay(tmp_path, "autograded", "ada", {f"{LESSON}.ipynb": graded(notes, [test])})
    row = by_student(course)["ada"]
    assert (row.remarks, row.mistakes) == (["Its name was another."], ["`test_one` stopped with E: It broke."])
    assert row.sandbox is False and row.said == row.remarks + row.mistakes


def test_words_of_the_evidence_are_named_without_their_escape_sequences(tmp_path):
    course = make(tmp_path, "ada")
    kind = "\x1b]0;attack\x07\x1b[2J\x1b[1Gada  3  11  28"
    judged = Verdict("Training loop", 6, [Finding("rule", 6, f"`optimizer` is a {kind}.", "", "", "")])
    test = new_code_cell(outputs=[new_output("execute_result", data=judged._repr_mimebundle_())])
    test.metadata["nbgrader"] = {"grade": True, "solution": False, "grade_id": "test_one"}
    answer = new_code_cell(outputs=[new_output("error", ename=kind, evalue=kind, traceback=[])])
    answer.metadata["nbgrader"] = {"grade": False, "solution": True, "grade_id": "todo"}
    lay(tmp_path, "autograded", "ada", {f"{LESSON}.ipynb": graded(cells=[test, answer])})
    cells, (row,), _ = rows(course, LESSON)
    shown = "".join(table(cells, [Row("ada", cells, mistakes=[mistake])]) for mistake in row.mistakes)
    assert shown.count("attack") == 3 and not {*shown} & {*"\x1b\x07"}


# --- On the terminal


def plain_row(student="ada", **more):
    return Row(student, dict(TESTS), dict.fromkeys(BY_HAND, 1.0), **more)


def test_no_control_character_reaches_a_terminal():
    text = "\x1b]0;mine\x07\x9b2J\u202egpj\ud800\r"
    found = [plain_row(text, mistakes=[text], limits=[text]), plain_row(not_graded=text, remarks=[text])]
    shown = table({text: 3.0, **TESTS}, found, BY_HAND, width=120)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", shown)


def test_a_name_with_a_line_break_is_one_row():
    shown = table(TESTS, [plain_row("ada\ncheat  3  11  28"), plain_row("ben")], BY_HAND, width=120)
    assert [line.split()[0] for line in shown.split("---\n")[1].splitlines()] == ["ada", "ben"]


def test_the_table_stays_within_its_width():
    cells = {
        "test_parameter_groups": 3.0,
        "test_learning_rate": 2.0,
        "test_training_loop": 6.0,
        "test_loss_history": 3.0,
    }
    found = [
        Row(
            "a-name-of-many_characters" * 3,
            cells,
            dict.fromkeys(BY_HAND),
            not_graded="word " * 90,
            late=99_999.0,
        ),
        Row("ben", cells, dict.fromkeys(BY_HAND, 2.5), mistakes=["x" * 300, "y"], penalty=0.25),
    ]
    shown = table(cells, found, BY_HAND, width=120)
    assert max(map(len, shown.splitlines())) == 120
    words = " ".join(shown.split())
    assert "not graded: word" in words and "late: by 1 day 3 hours" in words and "(+1 more)" in words
    (line,) = (line for line in shown.splitlines() if line.startswith("ben"))
    assert line.split()[1:9] == ["3", "2", "6", "3", "14", "5", "-", "18.75"]


# --- A class graded again


@pytest.mark.slow
def test_what_people_gave_stays_and_waits_again_only_where_the_answer_is_new(tmp_path):
    """By the real command, on notebooks whose cells take no time."""
    course = Course(classes.course(tmp_path / "light", 2, light=True))
    url, names = f"sqlite:///{course.folder}/gradebook.db", (ASSIGNMENT, ASSIGNMENT, "student-0000")
    given = {"reflect_smooth": 2.0, "reflect_adamw": 1.0, "test_learning_rate": 2.0}
    assert course.run("autograder", "grade")[0] == 0
    with Gradebook(url, "fine-tuning") as gradebook:
        for cell, points in given.items():
            grade = gradebook.find_grade(cell, *names)
            grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()
    path = course.folder / "submitted" / names[2] / ASSIGNMENT / RELEASE.name
    notebook = nbformat.read(path, 4)
    (answer,) = (cell for cell in notebook.cells if grade_id(cell) == "reflect_adamw")
    answer.source = "It <b>is</b> [new](javascript:1)."
    nbformat.write(notebook, path)
    assert course.run("autograder", "grade", "--force")[0] == 0
    for _ in range(2):
        with Gradebook(url, "fine-tuning") as gradebook:
            grades = {cell: gradebook.find_grade(cell, *names) for cell in given}
            assert {cell: grade.manual_score for cell, grade in grades.items()} == given
            assert [cell for cell, grade in grades.items() if grade.needs_manual_grade] == ["reflect_adamw"]
        row = course.rows()[names[2]]
        assert (row.total, row.by_hand, row.again) == (2.0, 3.0, 0) and row.waiting >= 1
        assert course.run("autograder", "grade", "--force")[0] == 0


# --- Late penalties follow the points


class TenthADay(BasePlugin):
    """A tenth of the score for each day."""

    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score * total_seconds_late / 864_000


def hand_in_late(course, student, days):
    with opened(course) as gradebook:
        gradebook.find_submission(LESSON, student).timestamp = DUE + timedelta(days=days)


def give(course, student, points):
    with opened(course) as gradebook:
        put(gradebook, student, "reflect_one", manual_score=points, needs_manual_grade=False)


def test_points_given_by_hand_carry_their_penalty(tmp_path):
    course = make(tmp_path, "ada", "ben", config=TENTH)
    hand_in_late(course, "ada", 2)
    for points, penalty in ((None, 2.8), (6.0, 4.0), (6.0, 4.0), (1.0, 3.0)):
        give(course, "ada", points)
        found = by_student(course)
        assert found["ada"].penalty == pytest.approx(penalty)
        assert found["ada"].grade == pytest.approx(14 + (points or 0) - penalty)
        assert found["ben"].penalty == 0 and found["ada"].late == 2 * 86400
    with opened(course) as gradebook:
        gradebook.find_submission(LESSON, "ada").extension = timedelta(days=3)
    assert by_student(course)["ada"].penalty == 0


def test_no_penalty_is_more_than_the_score(tmp_path):
    course = make(tmp_path, "ada", config=TENTH)
    hand_in_late(course, "ada", 30)
    row = by_student(course)["ada"]
    assert (row.penalty, row.grade) == (14, 0)


def test_without_a_penalty_in_the_configuration_nothing_changes(tmp_path):
    course = make(tmp_path, "ada")
    hand_in_late(course, "ada", 1)
    with opened(course) as gradebook:
        gradebook.find_submission_notebook(LESSON, LESSON, "ada").late_submission_penalty = 2.0
    assert by_student(course)["ada"].penalty == 2.0


def test_a_plugin_that_fails_does_not_cost_the_report(tmp_path, monkeypatch):
    course = make(tmp_path, "ada", "ben", config=TENTH)
    hand_in_late(course, "ada", 1)
    monkeypatch.setattr(TenthADay, "late_submission_penalty", lambda *_: {}["no such student"])
    found = by_student(course)
    assert found["ada"].total == found["ben"].grade == 14
    assert "KeyError" in found["ada"].remarks[0] and "KeyError" not in str(found["ben"].remarks)


def test_feedback_shows_the_penalty_of_the_points_as_they_are(tmp_path):
    course = make(tmp_path, "ada", config=TENTH)
    hand_in_late(course, "ada", 5)
    give(course, "ada", 6.0)
    names = {"notebook": LESSON, "assignment": LESSON, "student": "ada", "db_url": course.db_url}
    with opened(course) as gradebook:
        put(gradebook, "ada", "test_one", needs_manual_grade=True)  # marked, with its points
    notes = {"schema_version": 3, "grade": True, "solution": False, "locked": True, "grade_id": "test_one"}
    test = new_code_cell(metadata={"nbgrader": notes})
    _, resources = GetGrades(config=TENTH).preprocess(new_notebook(cells=[test]), {"nbgrader": names})
    shown = resources["nbgrader"]
    assert test.metadata.nbgrader.score == 3 and feedback.summary(new_notebook(cells=[test]))["waiting"] == 0
    assert (shown["score"], shown["late_penalty"], shown["max_score"]) == (10, 10, 28)
