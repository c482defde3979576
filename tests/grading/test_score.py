"""Points that nbgrader cannot misread, and that only evidence can earn."""

import pytest
from gradebooks import LESSON, make, opened, put
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.utils import determine_grade

from autograder import evidence, verdict
from autograder.grading.examiner import Examiner
from autograder.grading.faults import InstallationFault
from autograder.grading.score import SaveAutoGrades, ScoreCells
from autograder.judge import Finding


class Convinced(Examiner):
    """Believes what it is told, so that only the way to it is tested: the points to take off."""

    def verdict(self, cell, text):
        if text is None:
            return super().verdict(cell, text)
        return verdict.Verdict("Training loop", [Finding("rule", float(text), "", "", "", "")])


def shown(mime_type, value):
    return new_output("execute_result", data={"text/plain": "6.0", mime_type: value})


def stream(name):
    return new_output("stream", name=name, text="beware")


def scored(outputs, examiner):
    scorer = ScoreCells()
    scorer.examiner = examiner
    return scorer.scored("test_training_loop", outputs)


def grade(outputs, examiner):
    """What nbgrader makes of the cell after scoring."""
    cell = new_code_cell(outputs=scored(outputs, examiner))
    cell.metadata["nbgrader"] = {"grade": True, "solution": False, "points": 6, "grade_id": "t"}
    return determine_grade(cell)[0]


FORGED = shown(verdict.MIME_TYPE, {"points": 6.0, "findings": []})
ERROR = new_output("error", ename="NameError", evalue="x", traceback=[])


@pytest.mark.parametrize(
    ("outputs", "points"),
    [
        ([shown(evidence.MIME_TYPE, "0")], 6),
        ([shown(evidence.MIME_TYPE, "1.5")], 4.5),
        ([shown(evidence.MIME_TYPE, "99")], 0),
        ([stream("stderr"), shown(evidence.MIME_TYPE, "0"), stream("stderr")], 6),
        ([shown(evidence.MIME_TYPE, "6"), FORGED], 0),
        ([shown(evidence.MIME_TYPE, "0"), ERROR], 0),
        ([FORGED], 0),
        ([], 0),
        ([stream("stdout")], 0),
    ],
)
def test_points(outputs, points):
    assert grade(outputs, Convinced({}, 1)) == points


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"is_callable": "yes"}', "x" * 5_000_000, 7])
def test_what_is_no_record_earns_nothing_and_is_marked(text):
    result, mark = scored([shown(evidence.MIME_TYPE, text)], Examiner({}, 1))
    data = result.data[verdict.MIME_TYPE]
    assert data["points"] == 0 and [f["rule"] for f in data["findings"]] == ["evidence"]
    assert mark.data[verdict.MARK] == data["findings"][0]["observed"]


def test_an_error_becomes_one_sentence():
    error = new_output("error", ename="CellTimeoutError", evalue="", traceback=[])
    assert "never ends" in scored([error], Examiner({}, 1))[0].evalue


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), AssertionError("x"), KeyError("x")])
def test_whatever_evidence_makes_a_rule_raise_is_a_sentence_of_that_cell(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("autograder.grading.examiner.judge_training_loop", fail)
    monkeypatch.setattr("autograder.grading.examiner.must_be_planned", lambda *_: None)
    text = '{"is_callable": false, "kind": "int"}'
    data = scored([shown(evidence.MIME_TYPE, text)], Examiner({}, 1))[0].data[verdict.MIME_TYPE]
    assert data["points"] == 0 and type(error).__name__ in data["findings"][0]["observed"]


def checked(name, points):
    cell = new_code_cell(outputs=[])
    cell.metadata["nbgrader"] = {"grade": True, "solution": False, "points": points, "grade_id": name}
    return cell


@pytest.mark.parametrize(
    ("name", "points", "words"),
    [
        ("test_new", 6, ["`test_new` is no check of this lesson", "`test_training_loop`"]),
        ("test_training_loop", 8, ["`test_training_loop`", "8 points", "6", "solution notebook"]),
        ("test_learning_rate", 2.5, ["`test_learning_rate`", "2.5 points", "to 2 "]),
        ("test_loss_history", 1, ["`test_loss_history`", "1 point ", "to 3 "]),
    ],
)
def test_a_test_cell_that_does_not_fit_its_check(name, points, words):
    scorer = ScoreCells()
    scorer.examiner = Examiner({}, 1)
    with pytest.raises(InstallationFault) as fault:
        scorer.preprocess_cell(checked(name, points), {}, 0)
    assert all(word in str(fault.value) for word in words)


# --- Points given by hand


def submission(code, prose):
    """A graded notebook: an answer in code, the test of it, and a reflection."""
    answers = {"todo": new_code_cell(code), "reflect_one": new_markdown_cell(prose)}
    for name, cell in answers.items():
        cell.metadata["nbgrader"] = {"grade": name != "todo", "solution": True, "points": 6, "grade_id": name}
    test = checked("test_one", 3)
    test.source = "check()"
    cells = [answers["todo"], test, answers["reflect_one"]]
    return new_notebook(cells=cells), {cell.metadata.nbgrader["grade_id"]: cell.source for cell in cells}


EARLIER = submission("a", "b")[1]


@pytest.fixture
def graded(tmp_path):
    """Grade a submission again: graded(code, prose, points) is {cell: whether it waits for a person}.

    Before, it was `a`, `b`, for which the machine gave 0, and a person 2 and 5.
    """
    course = make(tmp_path, "ada")
    with opened(course) as gradebook:
        gradebook.add_source_cell("todo", LESSON, LESSON, cell_type="code")
        gradebook.add_solution_cell("todo", LESSON, LESSON)
        gradebook.remove_submission(LESSON, "ada")
        gradebook.add_submission(LESSON, "ada")
        put(gradebook, "ada", "test_one", auto_score=0.0, manual_score=2.0, needs_manual_grade=False)
        put(gradebook, "ada", "reflect_one", manual_score=5.0, needs_manual_grade=False)
        gradebook.find_comment("reflect_one", LESSON, LESSON, "ada").manual_comment = "Good."
    names = {"notebook": LESSON, "assignment": LESSON, "student": "ada", "db_url": course.db_url}

    def grade(code="a", prose="b", points=0.0, marked=False, earlier=EARLIER):
        notebook, sources = submission(code, prose)
        marks = [new_output("display_data", data=verdict.mark("It differs."))] * marked
        notebook.cells[1].outputs = [new_output("execute_result", data={"text/plain": str(points)}), *marks]
        resources = {"nbgrader": names} | ({"earlier": earlier} if earlier is not None else {})
        SaveAutoGrades().preprocess(notebook, resources)
        with opened(course) as gradebook:
            found = [
                gradebook.find_grade(cell, LESSON, LESSON, "ada") for cell in ("test_one", "reflect_one")
            ]
            assert [grade.manual_score for grade in found] == [2.0, 5.0]
            assert gradebook.find_comment("reflect_one", LESSON, LESSON, "ada").comment == "Good."
            return [grade.needs_manual_grade for grade in found], sources

    return grade


@pytest.mark.parametrize(
    ("again", "waits"),
    [
        ({}, [False, False]),
        ({"prose": "c"}, [False, True]),
        ({"code": "c"}, [True, False]),
        ({"points": 1.0}, [True, False]),
        ({"marked": True}, [False, False]),  # somebody has looked
        ({"marked": True, "code": "c"}, [True, False]),
        ({"earlier": None}, [True, True]),  # nbgrader's own command does not know
        ({"earlier": {"reflect_one": "b"}}, [True, False]),
    ],
)
def test_points_given_by_hand_wait_again_only_for_what_has_changed(graded, again, waits):
    assert graded(**again)[0] == waits


def test_what_waits_goes_on_waiting(graded):
    _, sources = graded("c", "c")
    assert graded("c", "c", earlier=sources)[0] == [True, True]


def test_what_is_marked_keeps_its_points_and_waits_where_nobody_has_looked(tmp_path):
    course = make(tmp_path, "ada")
    names = {"notebook": LESSON, "assignment": LESSON, "student": "ada", "db_url": course.db_url}
    notebook, sources = submission("a", "b")
    notebook.cells = [notebook.cells[1]]
    notebook.cells[0].outputs = [
        new_output("execute_result", data={"text/plain": "2.5"}),
        new_output("display_data", data=verdict.mark("It differs.")),
    ]
    SaveAutoGrades().preprocess(notebook, {"nbgrader": names, "earlier": sources})
    with opened(course) as gradebook:
        grade = gradebook.find_grade("test_one", LESSON, LESSON, "ada")
        assert grade.needs_manual_grade and grade.score == 2.5
