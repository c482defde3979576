"""What the engine does with lessons: another one, none, and one that is gone."""

import shutil

import nbformat
import pytest
from classes import scores
from conftest import ASSIGNMENT, ROOT, Course
from nbformat.v4 import new_code_cell, new_notebook
from rules import PAGE, page
from test_ordinary_assignment import ORDINARY, class_of, graded_cell

from autograder.lessons import Lesson, lesson_of
from autograder.tinybert import LESSON as TINYBERT

MEDIANS = "10_medians"
TEST = 'check_median(median)\n### BEGIN HIDDEN TESTS\ncheck_median(median, seed="secret")\n### END HIDDEN TESTS'
# An answer, its points of 10, and the rules that it breaks; each of the lesson's is broken by one.
ANSWERS = {
    "right": ("from statistics import median", 10, set()),
    "mean": ("def median(values):\n    return sum(values) / len(values)", 4, {"middle"}),
    "sorts-in-place": ("def median(v):\n    v.sort()\n    return (v[(len(v) - 1) // 2] + v[len(v) // 2]) / 2", 8, {"kept"}),
    "nothing": ("def median(values):\n    pass", 0, {"number"}),
    "raises": ("median = None", 0, {"number"}),
    "forges": ("import medians\nmedians.collect = lambda *_: 7", 0, {"evidence"}),
}


def medians():
    cells = [
        graded_cell(new_code_cell("from medians import check_median\n\nmedian = None"), "imports", None),
        graded_cell(new_code_cell("### BEGIN SOLUTION\nfrom statistics import median\n### END SOLUTION"),
                    "median", None, solution=True, locked=False),
        graded_cell(new_code_cell(TEST), "test_median", 10),
    ]  # fmt: skip
    return new_notebook(cells=cells, metadata={"autograder": {"lesson": "medians:LESSON"}})


@pytest.fixture(scope="module", params=["autograder grade", "nbgrader autograde"])
def course(request, tmp_path_factory):
    course = Course.copy(tmp_path_factory.mktemp("course"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests" / "lessons"))
        source = course.folder / "solutions" / MEDIANS / f"{MEDIANS}.ipynb"
        source.parent.mkdir()
        nbformat.write(medians(), source)
        status, printed = course.run("nbgrader", "generate_assignment", MEDIANS)
        assert status == 0, printed
        for student, (answer, _, _) in ANSWERS.items():
            notebook = nbformat.read(course.folder / "notebooks" / MEDIANS / source.name, as_version=4)
            notebook.cells[1].source = answer
            target = course.folder / "submitted" / student / MEDIANS / source.name
            target.parent.mkdir(parents=True)
            nbformat.write(notebook, target)
        course.status, course.printed = course.run(*request.param.split(), MEDIANS)
    return course


def test_a_lesson_with_a_verifier_of_its_own(course):
    assert course.status == 0, course.printed
    assert scores(course.folder, assignment=MEDIANS) == {
        student: {"test_median": points} for student, (_, points, _) in ANSWERS.items()
    }
    for student, (_, _, rules) in ANSWERS.items():
        path = course.folder / "autograded" / student / MEDIANS / f"{MEDIANS}.ipynb"
        (output, *_) = nbformat.read(path, as_version=4).cells[2].outputs
        (found,) = [value for kind, value in output.data.items() if "verdict" in kind]
        assert {finding["rule"] for finding in found["findings"]} == rules


def test_its_verifier_is_short():
    assert len((ROOT / "tests" / "lessons" / "medians.py").read_text().splitlines()) < 80


def test_without_the_lessons_room_an_ordinary_assignment_is_graded_reported_and_released(tmp_path, monkeypatch):
    package = tmp_path / "packages"
    shutil.copytree(ROOT / "autograder", package / "autograder", ignore=shutil.ignore_patterns("tinybert", "__pycache__"))
    shutil.copy(ROOT / "constraints.txt", package)  # as beside a clone's package
    monkeypatch.setenv("PYTHONPATH", str(package))
    (tmp_path / "course").mkdir()
    course = Course.copy(tmp_path / "course")
    class_of(course)
    status, printed = course.run("autograder", "grade", ORDINARY)
    assert status == 0 and "report.html" in printed, printed
    assert scores(course.folder, assignment=ORDINARY)["right"]["test_mean"] == 2
    assert course.run("autograder", "release", ORDINARY)[0] == 0
    # What needs the room that is gone is refused in a sentence.
    shutil.copytree(course.folder / "notebooks" / ASSIGNMENT, course.folder / "submitted" / "ada" / ASSIGNMENT)
    status, printed = course.run("autograder", "grade", ASSIGNMENT)
    assert status == 2 and "lesson `tinybert`" in printed and "Traceback" not in printed


def test_the_notebook_names_its_lesson(release, solution):
    assert lesson_of(release) is lesson_of(solution) is TINYBERT
    assert type(lesson_of(new_notebook())) is Lesson
    with pytest.raises(LookupError, match="no-such"):
        lesson_of(new_notebook(metadata={"autograder": {"lesson": "no-such"}}))


def test_the_page_of_rules_is_current():
    assert PAGE.read_text() == page(), "python tests/benchmarks/rules.py"
