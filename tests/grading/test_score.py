"""Points that nbgrader cannot misread, and that only evidence can earn."""

import pytest
from gradebooks import LESSON, make, opened, put
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.utils import determine_grade

from autograder import evidence, verdict
from autograder.grading.faults import InstallationFault
from autograder.grading.score import SaveAutoGrades, ScoreCells
from autograder.lessons import Lesson
from autograder.rule import Finding
from autograder.tinybert import LESSON as TINYBERT
from autograder.tinybert.examiner import Examiner
from autograder.tinybert.records import Forward, TrainingRecord, Trial


class Convinced(Examiner):
    """Believes what it is told, so that only the way to it is tested: the points to take off."""

    def verdict(self, cell, text):
        if text is None:
            return super().verdict(cell, text)
        return verdict.Verdict("Training loop", 6, [Finding("rule", float(text), "", "", "", "")])


def shown(mime_type, value):
    return new_output("execute_result", data={"text/plain": "6.0", mime_type: value})


def stream(name):
    return new_output("stream", name=name, text="beware")


def checked(name, points, outputs=()):
    cell = new_code_cell(outputs=list(outputs))
    cell.metadata["nbgrader"] = {"grade": True, "solution": False, "points": points, "grade_id": name}
    return cell


def scorer(examiner=None, solution=None, lesson=TINYBERT):
    found = ScoreCells(solution=solution)
    found.lesson, found.examiner = lesson, examiner
    return found


def scored(outputs, examiner, points=6):
    return scorer(examiner).preprocess_cell(checked("test_training_loop", points, outputs), {}, 0)[0].outputs


def grade(outputs, examiner, points=6):
    """What nbgrader makes of the cell after scoring."""
    return determine_grade(checked("t", points, scored(outputs, examiner, points)))[0]


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


@pytest.mark.parametrize("name", ["input_ids", "attention_mask"])
def test_a_word_that_no_collector_uses_is_no_evidence(name):
    words = {"input_ids": "right", "attention_mask": "right", name: "banana"}
    call = Forward(True, [0], 1, True, True, True, **words, labels="right", weights_kept=True)
    record = TrainingRecord(True, "function", [Trial(3, False, 10, 3, events=[call])])
    text = evidence.Evidence(record)._repr_mimebundle_()[evidence.MIME_TYPE]
    data = scored([shown(evidence.MIME_TYPE, text)], Examiner({}, 1))[0].data[verdict.MIME_TYPE]
    assert data["points"] == 0 and "No evidence can be read" in data["findings"][0]["observed"]


def test_an_error_becomes_one_sentence():
    error = new_output("error", ename="CellTimeoutError", evalue="", traceback=[])
    assert "never ends" in scored([error], Examiner({}, 1))[0].evalue


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), AssertionError("x"), KeyError("x")])
def test_whatever_evidence_makes_a_rule_raise_is_a_sentence_of_that_cell(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("autograder.tinybert.examiner.judge_training_loop", fail)
    monkeypatch.setattr("autograder.tinybert.examiner.must_be_planned", lambda *_: None)
    text = '{"is_callable": false, "kind": "int"}'
    data = scored([shown(evidence.MIME_TYPE, text)], Examiner({}, 1))[0].data[verdict.MIME_TYPE]
    assert data["points"] == 0 and type(error).__name__ in data["findings"][0]["observed"]


def test_where_the_numbers_of_a_finding_come_from_is_said_once():
    text = '{"is_callable": false, "kind": "int"}'
    judged = Examiner({}, 1).verdict("test_training_loop", text)
    data = scored([shown(evidence.MIME_TYPE, text)], Examiner({}, 1))[0].data
    for said in (data["text/html"], str(judged)):
        assert said.count("three small models of its own") == 1
    judged.findings.clear()
    assert "small models" not in judged.as_html() + str(judged)


@pytest.mark.parametrize(("points", "left"), [(6, 4), (10, 6.67), (4, 2.67), (3, 2), (0.5, 0.33), (0, 0)])
def test_a_finding_takes_its_share_of_the_cells_points(points, left):
    outputs = [shown(evidence.MIME_TYPE, "2")]
    data = scored(outputs, Convinced({}, 1), points)[0].data[verdict.MIME_TYPE]
    assert (data["points"], data["max_points"]) == (left, points)
    assert grade(outputs, Convinced({}, 1), points) == left
    assert grade([shown(evidence.MIME_TYPE, "0")], Convinced({}, 1), points) == points


@pytest.mark.parametrize("lesson", [TINYBERT, Lesson()])
@pytest.mark.parametrize(
    ("outputs", "points"),
    [
        ([], 5),
        ([ERROR], 0),
        ([new_output("execute_result", data={"text/plain": "2.5"})], 2.5),
        ([stream("stderr")], 0),  # as stock nbgrader has it
        ([stream("stdout")], 5),
    ],
)
def test_a_cell_that_no_lesson_judges_is_graded_as_nbgrader_does_it(lesson, outputs, points):
    cell, _ = scorer(lesson=lesson).preprocess_cell(checked("test_asserts", 5, outputs), {}, 0)
    assert cell.outputs == outputs and determine_grade(cell)[0] == points


@pytest.mark.parametrize("lesson", [TINYBERT, Lesson()])
def test_a_check_in_a_cell_that_its_lesson_does_not_know_is_a_fault_of_the_solution(lesson):
    outputs = [shown(evidence.MIME_TYPE, "{}")]
    with pytest.raises(InstallationFault, match="`test_new` calls a check"):
        scorer(lesson=lesson).preprocess_cell(checked("test_new", 6, outputs), {}, 0)
    # What a student shows there says nothing, and stops nobody.
    cell, _ = scorer(lesson=lesson, solution={}).preprocess_cell(checked("test_new", 6, outputs), {}, 0)
    assert cell.outputs == []


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
