"""Putting a submission back into the release's order and shape."""

import copy

import pytest
from bad_inputs import LOOP, OPTIMIZER, TEST, cell
from nbformat.v4 import new_code_cell

from autograder.grading.restore import MISSING, RestoreCells


class Restore(RestoreCells):
    """RestoreCells with the released notebook at hand."""

    def released(self, names):
        return self.given


@pytest.fixture
def restore(release):
    def run(submitted):
        step = Restore()
        step.given = release
        notebook, _ = step.preprocess(submitted, {"nbgrader": {}})
        return notebook, notebook.metadata["autograder"]["remarks"]

    return run


@pytest.fixture
def submitted(release):
    notebook = copy.deepcopy(release)
    cell(notebook, OPTIMIZER).source = "optimizer = 1"
    cell(notebook, LOOP).source = "def train_tinybert(): pass"
    return notebook


def sources(notebook):
    return [c.source for c in notebook.cells]


def test_an_honest_notebook_comes_back_as_it_was(restore, submitted):
    before = sources(submitted)
    notebook, remarks = restore(submitted)
    assert (sources(notebook), remarks) == (before, [])


def test_extra_cells_stay_where_they_were(restore, submitted):
    position = submitted.cells.index(cell(submitted, OPTIMIZER))
    submitted.cells.insert(position + 1, new_code_cell("print(optimizer)"))
    submitted.cells.insert(0, new_code_cell("first = True"))
    before = sources(submitted)
    notebook, remarks = restore(submitted)
    assert (sources(notebook), remarks) == (before, [])


def test_moved_cells_go_back_and_keep_their_answers(restore, submitted, release):
    submitted.cells.reverse()
    notebook, _ = restore(submitted)
    assert [c.get("metadata") for c in notebook.cells] == [c.get("metadata") for c in release.cells]
    assert cell(notebook, OPTIMIZER).source == "optimizer = 1"


def test_a_deleted_answer_does_not_overwrite_what_stands_elsewhere(restore, submitted):
    found = cell(submitted, LOOP)
    found.metadata, found.id = {}, "elsewhere"
    notebook, remarks = restore(submitted)
    assert cell(notebook, LOOP).source == MISSING
    assert "def train_tinybert(): pass" in sources(notebook)
    assert remarks == [f"The cell `{LOOP}` was deleted; its place was put back."]


def test_the_last_of_two_answers_counts_and_both_run(restore, submitted):
    twin = new_code_cell("optimizer = 2", metadata=cell(submitted, OPTIMIZER).metadata)
    submitted.cells.append(twin)
    notebook, remarks = restore(submitted)
    assert cell(notebook, OPTIMIZER).source == "optimizer = 2"
    assert sources(notebook).index("optimizer = 1") < sources(notebook).index("optimizer = 2")
    assert "2 times" in remarks[0]


@pytest.mark.parametrize(("grade_id", "words"), [(TEST, "test cell"), ("data", "locked cell")])
def test_edited_cells_are_as_released_and_noted(restore, submitted, release, grade_id, words):
    cell(submitted, grade_id).source = "6.0"
    notebook, remarks = restore(submitted)
    assert cell(notebook, grade_id).source == cell(release, grade_id).source
    assert len(remarks) == 1 and words in remarks[0] and "edited" in remarks[0]


def test_stripped_metadata_and_ids_are_known_by_source_or_position(restore, submitted, release):
    for found in submitted.cells:
        found.metadata = {}
    notebook, remarks = restore(submitted)
    assert [c.get("metadata") for c in notebook.cells] == [c.get("metadata") for c in release.cells]
    assert cell(notebook, OPTIMIZER).source == "optimizer = 1"
    assert any(OPTIMIZER in remark and "metadata" in remark for remark in remarks)
