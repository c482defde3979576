"""The two notebooks: generated from each other, nothing given away, and it runs."""

import re

import nbformat
from bad_inputs import LOOP, OPTIMIZER, cell
from conftest import ASSIGNMENT, RELEASE, ROOT, Course
from nbclient import NotebookClient

from autograder.tinybert.lesson import POINTS

TESTS = {
    "test_parameter_groups": "Parameter groups",
    "test_learning_rate": "Learning rate",
    "test_training_loop": "Training loop",
    "test_loss_history": "Loss history",
}


def regions(notebook, kind):
    """Return the lines between BEGIN and END markers of `kind`."""
    pattern = rf"### BEGIN {kind}(?: -->)?\n(.*?)(?:<!-- )?### END {kind}"
    found = "\n".join(
        match for c in notebook.cells for match in re.findall(pattern, c.source, flags=re.DOTALL)
    )
    return [line.strip() for line in found.splitlines() if line.strip()]


def test_student_notebook_is_what_the_solution_generates(tmp_path, release):
    course = Course.copy(tmp_path)
    status, printed = course.run("nbgrader", "generate_assignment", ASSIGNMENT, "--force")
    assert status == 0, printed
    generated = tmp_path / "notebooks" / ASSIGNMENT / RELEASE.name
    assert generated.read_text() == RELEASE.read_text(), "run `make release` and commit notebooks/"


def test_student_notebook_gives_nothing_away(release, solution):
    lines = {line.strip() for c in release.cells for line in c.source.splitlines()}
    secret = regions(solution, "SOLUTION") + regions(solution, "HIDDEN TESTS")
    assert len(secret) > 20
    assert [line for line in secret if line in lines and len(line) > 8] == []
    text = nbformat.writes(release)
    assert "HIDDEN" not in text and "SOLUTION" not in text
    for answer in (
        c for c in solution.cells if c.metadata.get("nbgrader", {}).get("grade_id", "").startswith("reflect_")
    ):
        assert answer.source not in text
    assert all(not c.get("outputs") for c in release.cells)


def test_points_agree_with_the_checks(release):
    for grade_id, check in TESTS.items():
        assert cell(release, grade_id).metadata.nbgrader.points == POINTS[check]


def test_grade_ids_are_unique_and_locked(release):
    ids = [c.metadata.nbgrader.grade_id for c in release.cells if "nbgrader" in c.metadata]
    assert len(ids) == len(set(ids))
    free = {i for i in ids if not cell(release, i).metadata.nbgrader.locked}
    assert free == {OPTIMIZER, LOOP} | {i for i in ids if i.startswith("reflect_")}


def test_hints_open_one_after_another(release):
    text = "\n".join(c.source for c in release.cells)
    for todo in (1, 2):
        section = text.split(f"TODO #{todo}: ")[1]
        numbers = [int(n) for n in re.findall(r"<details><summary>Hint (\d+)", section)]
        last = numbers.index(1, 1) if 1 in numbers[1:] else len(numbers)
        assert numbers[:last] == list(range(1, last + 1))


def test_solution_is_stored_as_it_ran(solution):
    outputs = [o for c in solution.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    figures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(figures) >= 15
    assert all(len(o.metadata["image/png"]["alt"]) >= 40 for o in figures)
    # Where alt texts are ignored, as by nbconvert's page of a notebook, the text below can be read.
    words = [o for o in outputs if "This figure in words" in o.get("data", {}).get("text/html", "")]
    assert len(words) == len(figures)


def test_the_solutions_page_says_every_figure_in_words():
    images = re.findall(r"<img\b[^>]*>", (ROOT / "docs" / "solution.html").read_text())
    assert len(images) >= 15
    assert all(len(re.search(r'alt="([^"]*)"', image)[1]) >= 40 for image in images)


def test_validate_tells_the_reflections_apart(release):
    answers = [c.source for c in release.cells if c.metadata.get("nbgrader", {}).get("grade_id", "").startswith("reflect_")]
    assert [re.match(r"\*\*Answer 12\.(\d)\*\*", source)[1] for source in answers] == list("1234567")


def test_whole_solution_runs(solution, tmp_path):
    fresh = nbformat.from_dict(solution)
    NotebookClient(fresh, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for grade_id in TESTS:
        assert str(cell(fresh, grade_id).outputs[-1].data["text/plain"]) == repr(
            float(cell(fresh, grade_id).metadata.nbgrader.points)
        )
