"""An assignment without a lesson of its own, beside 08 in one course: graded as stock nbgrader does it."""

import copy

import nbformat
import pytest
from classes import STOCK, scores
from conftest import Course
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.grading.feedback import HideTests

ORDINARY = "09_means"
MEAN = """
def mean(values):
    ### BEGIN SOLUTION
    return sum(values) / len(values)
    ### END SOLUTION
"""
PARTIAL = """
### BEGIN HIDDEN TESTS
points = sum(abs(mean([k, k + 1]) - k - 0.5) < 1e-9 for k in range(3))
### END HIDDEN TESTS
points
"""
RUBRIC = "**Rubric.** 4 points: it *is*."
ANSWERS = {
    "right": "def mean(values):\n    return sum(values) / len(values)",
    "sum-in-place-of-mean": "def mean(values):\n    return sum(values)",
    "one-in-three": "def mean(values):\n    return values[0] + 0.5 if values[0] == 1 else -1",
    "integers": "def mean(values):\n    return sum(values) // len(values)",
    "raises": "def mean(values):\n    raise KeyError('no')",
    "warns": "import sys\ndef mean(values):\n    print('careful', file=sys.stderr)\n    return sum(values) / len(values)",
    "untouched": None,
    "syntax-error": "def mean(values:\n    return 0",
    "endless": "def mean(values):\n    while True:\n        pass",
    "shows-points": "def mean(values):\n    return 3.0",
}


def graded_cell(cell, name, points, solution=False, locked=True):
    cell.metadata["nbgrader"] = {
        "grade": points is not None, "grade_id": name, "locked": locked, "schema_version": 3,
        "solution": solution, "task": False, **({} if points is None else {"points": points}),
    }  # fmt: skip
    return cell


def source():
    """A notebook as instructors write them: one answer, asserts, hidden ones, partial credit, an essay."""
    return new_notebook(
        cells=[
            graded_cell(new_code_cell("import math"), "imports", None),
            graded_cell(new_code_cell(MEAN.strip()), "mean", None, solution=True, locked=False),
            graded_cell(
                new_code_cell(
                    "assert mean([1, 3]) == 2\n### BEGIN HIDDEN TESTS\nassert mean([1, 2]) == 1.5\n### END HIDDEN TESTS"
                ),
                "test_mean", 2,
            ),
            graded_cell(new_code_cell("assert math.isclose(mean([0.5]), 0.5)"), "test_one_value", 1.5),
            graded_cell(new_code_cell(PARTIAL.strip()), "test_partial", 3),
            graded_cell(new_markdown_cell(f"It is.\n\n{RUBRIC}"), "essay", 4, solution=True, locked=False),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )  # fmt: skip


def write(notebook, course, *place):
    path = course.folder.joinpath(*place, ORDINARY, f"{ORDINARY}.ipynb")
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def class_of(course, config=None):
    """Release the assignment, with a configuration if not the project's, and hand in every answer."""
    path = course.folder / "nbgrader_config.py"
    path.write_text(config or f"{path.read_text()}c.Execute.timeout = 3\n")
    write(source(), course, "solutions")
    status, printed = course.run("nbgrader", "generate_assignment", ORDINARY)
    assert status == 0, printed
    released = course.folder / "notebooks" / ORDINARY / f"{ORDINARY}.ipynb"
    for student, answer in ANSWERS.items():
        notebook = nbformat.read(released, as_version=4)
        if answer is not None:
            notebook.cells[1].source = answer
        write(notebook, course, "submitted", student)
    return course


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """The points that stock nbgrader gives: {student: {cell: points}}."""
    course = class_of(Course(tmp_path_factory.mktemp("stock")), f"{STOCK}c.ExecutePreprocessor.timeout = 3\n")
    course.run("nbgrader", "autograde", ORDINARY)
    return scores(course.folder, assignment=ORDINARY)


@pytest.fixture(scope="module", params=["autograder grade", "nbgrader autograde"])
def course(request, tmp_path_factory):
    course = class_of(Course.copy(tmp_path_factory.mktemp("course")))
    course.status, course.printed = course.run(*request.param.split(), ORDINARY)
    return course


def test_points_are_those_of_stock_nbgrader(course, stock):
    assert course.status == 0, course.printed
    found = scores(course.folder, assignment=ORDINARY)
    assert found.keys() == ANSWERS.keys() and found == stock


def test_the_report_says_what_went_wrong(course):
    status, _ = course.run("autograder", "report", ORDINARY)
    mistakes = {student: row.mistakes for student, row in course.rows(ORDINARY).items()}
    assert status == 0 and "Loss curves" not in (course.folder / "report.html").read_text()
    assert (course.folder / f"report-{ORDINARY}.html").read_text() == (course.folder / "report.html").read_text()
    assert mistakes["right"] == []
    assert mistakes["sum-in-place-of-mean"] == ["`test_mean` stopped with AssertionError"]
    assert mistakes["raises"][0] == "`test_mean` stopped with KeyError: 'no'"
    assert "standard error" in mistakes["warns"][0]
    assert "Time ran out" in mistakes["endless"][0]


def cells(course, step, student=""):
    return nbformat.read(course.folder / step / student / ORDINARY / f"{ORDINARY}.ipynb", as_version=4).cells


def test_the_rubric_is_beside_the_answer_for_graders_and_nobody_else(course):
    *_, answer, beside = cells(course, "autograded", "right")
    assert answer.metadata.nbgrader.grade_id == "essay" and "4 points: it *is*" in beside.source
    assert beside.metadata.nbgrader.locked and not beside.metadata.nbgrader.grade
    assert "4 points" not in str(cells(course, "notebooks")) + str(cells(course, "submitted", "right"))
    autograded = nbformat.v4.new_notebook(cells=cells(course, "autograded", "right"))
    for shown, preprocessor in ((False, HideTests()), (True, HideTests(show_rubrics=True))):
        notebook, _ = preprocessor.preprocess(copy.deepcopy(autograded), {})
        assert ("4 points" in str(notebook)) == shown and len(notebook.cells) == len(autograded.cells) - (not shown)


@pytest.mark.parametrize("course", ["autograder grade"], indirect=True)
def test_a_changed_rubric_is_shown_anew_and_once(course):
    path = course.folder / "solutions" / ORDINARY / f"{ORDINARY}.ipynb"
    before = path.read_text()
    path.write_text(before.replace("4 points: it", "3 points: it"))
    status, printed = course.run("autograder", "grade", ORDINARY, "--student", "right")
    path.write_text(before)
    assert status == 0, printed
    sources = [cell.source for cell in cells(course, "autograded", "right")]
    assert sum("points: it" in source for source in sources) == 1 and "3 points: it" in sources[-1]
