"""Notebooks as other courses have them, without a lesson: each cell's points are stock nbgrader's."""

import copy
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import determine_grade
from traitlets.config import Config, LoggingConfigurable

from autograder.cells import counts
from autograder.grading.execute import Execute
from autograder.grading.faults import InstallationFault, NotGraded
from autograder.grading.feedback import HideTests, summary
from autograder.grading.read import grade_id
from autograder.grading.restore import read_release, restored
from autograder.grading.score import ScoreCells
from autograder.grading.setup import digest, files_in
from autograder.grading.solution import because, generated, has_ids, is_same

FLOOD = "for k in range(9000):\n        print('step', k, 'of a loop that prints too much')"


def cell(source, name=None, points=None, solution=False, **metadata):
    if name:
        metadata["nbgrader"] = {
            "grade": points is not None, "grade_id": name, "locked": not solution, "schema_version": 3,
            "solution": solution, "task": False, "points": points or 0,
        }  # fmt: skip
    return new_code_cell(source, metadata=metadata)


def points(tmp_path, *cells, **traits):
    """Return {name: points} of the test cells of a notebook, once it has been executed."""
    execute = Execute(secret="the same probes", extra_arguments=["--HistoryManager.enabled=False"], **traits)
    resources = {"metadata": {"path": str(tmp_path)}}
    notebook, resources = execute.preprocess(new_notebook(cells=list(cells)), resources)
    notebook, _ = ScoreCells(solution={}).preprocess(notebook, resources)
    tests = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade")]
    return {grade_id(c): determine_grade(c)[0] for c in tests}


@pytest.mark.parametrize("shout", ["", "import sys; print('!' * 300_000, file=sys.stderr)"])
def test_what_decides_a_cells_points_is_kept_however_much_it_prints(tmp_path, shout):
    answer = f"def f(n):\n    {FLOOD}\n    {shout}\n    return 1 if n == 0 else 0"
    found = points(
        tmp_path,
        cell(answer, "f", solution=True),
        cell("sum(f(k) == k + 1 for k in range(4))", "partial", 4),
        cell("assert f(1) == 2", "wrong", 2),
        cell("assert f(0) == 1", "right", 3),
    )
    assert found == {"partial": 0 if shout else 1, "wrong": 0, "right": 0 if shout else 3}


def test_an_endless_loop_costs_the_points_of_no_other_question(tmp_path):
    found = points(
        tmp_path,
        cell("a = 1\nwhile True:\n    pass", "a", solution=True),
        cell("assert a == 1", "test_a", 1),
        cell("b = 2", "b", solution=True),
        cell("assert b == 2", "test_b", 2),
        timeout=2,
    )
    assert found == {"test_a": 1, "test_b": 2}


def test_an_answer_and_a_test_count_whatever_their_tags_are():
    cells = [cell("1", "answer", solution=True), cell("2", "test", 1), cell("3", "locked"), cell("4")]
    tagged = [*cells[:1], *cells[2:], cells[1]]
    for each in tagged:
        each.metadata["tags"] = ["figure"]
    assert [c.source for c in counts(tagged)] == ["1", "2"]


def test_a_copy_of_a_cell_runs_where_the_student_put_it():
    load = cell("data = [1, 2]")
    release = new_notebook(
        cells=[load, cell("", "one", solution=True), cell("assert data", "test_one", 1), cell("", "two", solution=True)]
    )
    submitted = copy.deepcopy(release)
    submitted.cells.insert(3, cell("data = [1, 2]"))
    sources = [c.source for c in restored(submitted, release).cells]
    assert sources == ["data = [1, 2]", "", "assert data", "data = [1, 2]", ""]


def test_feedback_quotes_no_hidden_test():
    hidden = "assert x\n### BEGIN HIDDEN TESTS\nassert x == 42\n### END HIDDEN TESTS"
    failed = cell(hidden, "test", 1)
    failed.outputs = [
        nbformat.v4.new_output("error", ename="NameError", evalue="x", traceback=["----> 1 assert x", "3 assert x == 42"])
    ]
    notebook, _ = HideTests().preprocess(new_notebook(cells=[failed]), {})
    assert "42" not in json.dumps(notebook) and "NameError: x" in json.dumps(notebook)


@pytest.mark.parametrize("minor", [0, 4, 5])
def test_cells_without_ids_are_read_and_released(tmp_path, minor):
    notebook = new_notebook(cells=[cell("1", "answer", solution=True), cell("2", "test", 1)])
    notebook.nbformat_minor = minor
    for each in notebook.cells:
        del each["id"]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(notebook))
    assert not has_ids(path) and all(c.id for c in read_release(path, 0).cells)
    made = []
    for number in (1, 2):
        made.append(tmp_path / f"{number}.ipynb")
        anew = copy.deepcopy(notebook)
        anew.nbformat_minor = 5
        for each in anew.cells:
            each["id"] = f"drawn-{number}-{each.source}"
        made[-1].write_text(json.dumps(anew))
    assert is_same(*made, ids=has_ids(path)) and not is_same(*made)


SETUP = """
from helper_beside import twice
import matplotlib.pyplot as plt
"""


def test_a_set_up_may_import_what_stands_beside_the_notebook(tmp_path):
    (tmp_path / "helper_beside.py").write_text("def twice(x):\n    return 2 * x\n")
    cells = [cell(SETUP.strip(), "setup"), cell("x = twice(2)", "x", solution=True), cell("assert x == 4", "test", 1)]
    prepared = digest(new_notebook(cells=cells), files_in(tmp_path))
    assert points(tmp_path, *cells, prepared=prepared) == {"test": 1}


def test_figures_are_shown_and_closed_at_a_cells_end_and_bars_are_no_errors(tmp_path):
    draw = cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])", "draw", solution=True)
    bar = cell("from tqdm.auto import tqdm\nassert len(list(tqdm(range(3)))) == 3", "bar", 2)
    found = points(tmp_path, draw, cell("assert plt.get_fignums() == []", "closed", 1), bar)
    assert found == {"closed": 1, "bar": 2}
    assert any("image/png" in output.get("data", {}) for output in draw.outputs)


def test_more_points_than_a_test_has_are_nobodys(tmp_path):
    with pytest.raises(NotGraded, match="^`test` shows a number above its 2 points: mend the test.$"):
        points(tmp_path, cell("x = 9", "x", solution=True), cell("x", "test", 2))


@pytest.mark.parametrize("tags", [["raises-exception"], []])
def test_a_locked_cell_may_fail_where_it_is_meant_to(tmp_path, tags):
    cells = [
        cell("a = 1", "first"), cell("1 / 0", "demo", tags=tags), cell("x = a", "x", solution=True),
        cell("assert x == 1", "test", 1),
    ]  # fmt: skip
    prepared = digest(new_notebook(cells=cells), {})
    if tags:
        assert points(tmp_path, *cells, prepared=prepared) == {"test": 1}
        return
    with pytest.raises(InstallationFault, match="`demo` failed before any of the student's code ran"):
        points(tmp_path, *cells, prepared=prepared)


def test_feedback_lists_tasks_and_praises_no_checks_that_are_not_there():
    notes = {"grade": False, "solution": False, "locked": True, "grade_id": "draw", "points": 6, "score": 4, "schema_version": 3}
    task = new_markdown_cell("# Draw a map\nand explain it", metadata={"nbgrader": {**notes, "task": True, "comment": None}})
    found = summary(new_notebook(cells=[task], metadata={}))
    assert not found["checked"] and found["findings"] == []
    assert [(c["label"], c["points"], c["place"]) for c in found["cells"]] == [("Draw a map", "4 of 6", "comment-draw")]
    assert summary(new_notebook(cells=[task, cell("assert x", "test", 1)]))["checked"]


def test_the_first_cell_that_stopped_is_the_reason():
    def failed(of, ename):
        of.outputs = [nbformat.v4.new_output("error", ename=ename, evalue="it broke\nat once", traceback=[])]
        return of

    meant, loads = failed(cell("1 / 0", "demo", tags=["raises-exception"]), "ZeroDivisionError"), failed(cell("read()"), "URLError")
    answer, test = failed(cell("x = data", "x", solution=True), "NameError"), failed(cell("assert x", "test", 1), "NameError")
    assert because(test, new_notebook(cells=[meant, loads, answer, test])) == "`read()` stopped with URLError: it broke."
    assert because(test, new_notebook(cells=[meant, answer, test])) == "`x` stopped with NameError: it broke."
    assert because(test, new_notebook(cells=[meant, test])).startswith("it ends with: `test` stopped with NameError")


def test_the_solution_has_the_header_that_students_have(tmp_path):
    path, header = tmp_path / "hw.ipynb", tmp_path / "header.ipynb"
    nbformat.write(new_notebook(cells=[cell("x = pi", "x", solution=True)]), path)
    nbformat.write(new_notebook(cells=[cell("from math import pi")]), header)
    assert generated(path, LoggingConfigurable()) == path.read_bytes()
    course = LoggingConfigurable(config=Config(IncludeHeaderFooter={"header": str(header)}))
    made = nbformat.reads(generated(path, course).decode(), as_version=4)
    assert [c.source for c in made.cells] == ["from math import pi", "x = pi"]
