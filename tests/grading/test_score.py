"""Points that nbgrader cannot misread, and that only evidence can earn."""

import pytest
from nbformat.v4 import new_code_cell, new_output
from nbgrader.utils import determine_grade

from autograder import evidence, verdict
from autograder.grading.examiner import Examiner
from autograder.grading.score import ScoreCells
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
    cell = new_code_cell(outputs=[scored(outputs, examiner)])
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
    assert grade(outputs, Convinced(None, 1)) == points


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"is_callable": "yes"}', "x" * 5_000_000, 7])
def test_what_is_no_record_is_withheld(text):
    data = scored([shown(evidence.MIME_TYPE, text)], Examiner(None, 1)).data[verdict.MIME_TYPE]
    assert data["points"] == 0 and data["withheld"]


def test_an_error_becomes_one_sentence():
    error = new_output("error", ename="CellTimeoutError", evalue="", traceback=[])
    assert "never ends" in scored([error], Examiner(None, 1)).evalue
