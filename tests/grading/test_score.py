"""Points that nbgrader cannot misread."""

import pytest
from nbformat.v4 import new_code_cell, new_output
from nbgrader.utils import determine_grade

from autograder.grading.score import scored
from autograder.verdict import MIME_TYPE


def result(points, **more):
    data = {"text/plain": repr(points), MIME_TYPE: {"points": points, "findings": []}, **more}
    return new_output("execute_result", data=data)


def stream(name):
    return new_output("stream", name=name, text="beware")


def grade(outputs):
    """What nbgrader makes of the cell after scoring."""
    cell = new_code_cell(outputs=[scored(outputs, 6.0)])
    cell.metadata["nbgrader"] = {"grade": True, "solution": False, "points": 6, "grade_id": "t"}
    return determine_grade(cell)[0]


@pytest.mark.parametrize(
    ("outputs", "points"),
    [
        ([result(6.0)], 6),
        ([result(4.5)], 4.5),
        ([result(0.0)], 0),
        ([stream("stderr"), result(6.0), stream("stderr")], 6),
        ([result(float("nan"))], 0),
        ([result(float("inf"))], 0),
        ([result(-1.0)], 0),
        ([result(99.0)], 6),
        ([result("6.0")], 0),
        ([result(None)], 0),
        ([], 0),
        ([stream("stdout")], 0),
        ([new_output("execute_result", data={"text/plain": "6.0"})], 0),
        ([result(6.0), new_output("error", ename="NameError", evalue="x", traceback=[])], 0),
    ],
)
def test_points(outputs, points):
    assert grade(outputs) == points


def test_an_error_becomes_one_sentence():
    output = scored([new_output("error", ename="CellTimeoutError", evalue="", traceback=[])], 6.0)
    assert "never ends" in output.evalue
