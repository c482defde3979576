"""Putting a submission back into the release's order and shape."""

import copy
import time

import pytest
from bad_inputs import LOOP, OPTIMIZER, TEST, cell
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import determine_grade

from autograder.grading.restore import MISSING, RestoreCells, answered, carries


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


def test_an_untouched_copy_below_the_answer_is_not_the_answer(restore, submitted, release):
    position = submitted.cells.index(cell(submitted, LOOP))
    stub = copy.deepcopy(cell(release, LOOP))
    stub.id = "twin"
    submitted.cells.insert(position + 1, stub)
    notebook, _ = restore(submitted)
    assert cell(notebook, LOOP).source == "def train_tinybert(): pass"
    assert stub.source not in sources(notebook)


def test_an_honest_notebook_comes_back_as_it_was(restore, submitted, release):
    submitted.metadata.clear()
    before = sources(submitted)
    notebook, remarks = restore(submitted)
    assert (sources(notebook), remarks) == (before, [])
    assert notebook.metadata.language_info == release.metadata.language_info


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
    assert remarks == [f"The cell `{LOOP}` was not found; its place was put back."]


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


def test_nobody_looks_at_thirty_thousand_cells(restore, submitted):
    position = submitted.cells.index(cell(submitted, LOOP))
    submitted.cells[position:position] = [new_code_cell(f"x = {n}") for n in range(300)] * 100
    submitted.cells += [copy.deepcopy(cell(submitted, OPTIMIZER)) for _ in range(1000)]
    begun = time.process_time()
    notebook, remarks = restore(submitted)
    assert time.process_time() - begun < 10 and len(notebook.cells) < 400
    assert cell(notebook, LOOP).source == "def train_tinybert(): pass"
    assert "Of 30000 extra cells, the first 300 were kept." in remarks


# --- Answers in prose

ASKED = [f"{part}_{name}" for name in ("smooth", "standard_rate", "adamw") for part in ("ask", "reflect")]
SAID = "It jumped between 0.4 and 1.2."


def lose(found):
    """Take from a cell all that it is known by but its source."""
    found.metadata, found.id = {}, new_code_cell().id


def place(notebook, name):
    return notebook.cells.index(cell(notebook, name))


def instead_of_the_stub(notebook, new):
    notebook.cells[place(notebook, "reflect_smooth")] = new


def below_the_stub(notebook, new):
    notebook.cells.insert(place(notebook, "reflect_smooth") + 1, new)


def below_the_question(notebook, new):
    notebook.cells.insert(place(notebook, "reflect_smooth"), new)


def below_a_question_without_metadata(notebook, new):
    instead_of_the_stub(notebook, new)
    lose(cell(notebook, "ask_smooth"))


def below_an_emptied_stub(notebook, new):
    cell(notebook, "reflect_smooth").source = " "
    below_the_stub(notebook, new)


def where_question_and_stub_were(notebook, new):
    instead_of_the_stub(notebook, new)
    notebook.cells.remove(cell(notebook, "ask_smooth"))


def into_the_question(notebook, new):
    cell(notebook, "ask_smooth").source += "\n\n" + new.source


def over_the_question(notebook, new):
    cell(notebook, "ask_smooth").source = new.source


def into_a_question_without_metadata(notebook, new):
    into_the_question(notebook, new)
    for name in ("ask_smooth", "reflect_smooth"):
        lose(cell(notebook, name))


def with_other_line_ends(notebook, new):
    instead_of_the_stub(notebook, new)
    for found in notebook.cells:
        lose(found)
        found.source = found.source.replace("\n", " \r\n")


def twice_the_stub_last(notebook, new):
    stub = copy.deepcopy(cell(notebook, "reflect_smooth"))
    cell(notebook, "reflect_smooth").source = new.source
    notebook.cells.append(stub)


@pytest.mark.parametrize("new", [new_markdown_cell(SAID), new_code_cell(SAID), new_code_cell("'It jumped'")])
@pytest.mark.parametrize(
    "write",
    [
        instead_of_the_stub, below_the_stub, below_the_question, below_a_question_without_metadata,
        below_an_emptied_stub, where_question_and_stub_were, into_the_question, over_the_question,
        into_a_question_without_metadata, with_other_line_ends, twice_the_stub_last,
    ],
)  # fmt: skip
def test_an_answer_beside_its_place_waits_for_a_person(restore, submitted, write, new):
    write(submitted, copy.deepcopy(new))
    notebook, remarks = restore(submitted)
    assert new.source in cell(notebook, "reflect_smooth").source
    assert determine_grade(cell(notebook, "reflect_smooth"))[0] is None
    for other in ("reflect_standard_rate", "reflect_lower"):  # and nobody else's place is taken for it
        assert determine_grade(cell(notebook, other))[0] == 0
    assert sum(SAID in c.source for c in notebook.cells) <= 1
    assert not any("`reflect_smooth`" in r and ("not found" in r or "deleted" in r) for r in remarks)


def test_a_notebook_pasted_elsewhere_keeps_its_answers(restore, submitted):
    answers = {}
    for found in submitted.cells:
        name = found.metadata.get("nbgrader", {}).get("grade_id", "")
        if name.startswith("reflect_") and name != "reflect_lower":
            answers[name] = found.source = f"My answer to {name}."
        if "prediction = [" in found.source:
            found.source = "prediction = [0.7] * 10"
        lose(found)
    notebook, remarks = restore(submitted)
    assert {name: cell(notebook, name).source for name in answers} == answers
    assert [("reflect_lower" in r) for r in remarks if "reflect_smooth" in r] == [False]
    assert determine_grade(cell(notebook, "reflect_lower"))[0] == 0
    assert [c.cell_type for c in notebook.cells if c.source == "prediction = [0.7] * 10"] == ["code"]


def test_answers_whose_questions_are_gone_stand_in_every_place_that_they_may_belong_to(restore, submitted):
    cells = {name: cell(submitted, name) for name in ASKED}
    first = submitted.cells.index(cells["ask_smooth"])
    submitted.cells[first : first + 6] = [new_markdown_cell(f"{n}. Answer {n}") for n in (1, 2, 3)]
    notebook, remarks = restore(submitted)
    for name in ASKED[1::2]:
        assert cell(notebook, name).source == "1. Answer 1\n\n2. Answer 2\n\n3. Answer 3"
    names = ", ".join(f"`{name}`" for name in ASKED[1::2])
    assert remarks == [f"No answer stood in {names}; text that may be one was put there to be read."]


def test_no_text_is_no_answer(restore, submitted):
    stub = new_markdown_cell(cell(submitted, "reflect_smooth").source)  # known by its number
    for name in ASKED:
        submitted.cells.remove(cell(submitted, name))
    submitted.cells.insert(place(submitted, "reflection") + 1, stub)
    submitted.cells.insert(place(submitted, "reflection") + 2, new_markdown_cell(" "))
    notebook, remarks = restore(submitted)
    assert determine_grade(cell(notebook, "reflect_smooth"))[0] == 0
    assert remarks == ["The cell `reflect_smooth` had lost its nbgrader metadata; it was put back."] + [
        f"The cell `{n}` was not found; its place was put back." for n in ASKED[3::2]
    ]


def test_answers_at_the_end_are_read_where_answers_are_missing(restore, submitted):
    cell(submitted, "reflect_smooth").source = SAID
    submitted.cells.insert(place(submitted, "reflect_adamw") + 1, new_markdown_cell("Decoupled."))
    submitted.cells += [new_markdown_cell("8.2 More stable. 8.3 Decoupled."), new_code_cell("trial = 1")]
    notebook, _ = restore(submitted)
    assert cell(notebook, "reflect_smooth").source == SAID
    assert cell(notebook, "reflect_adamw").source == "Decoupled."
    assert cell(notebook, "reflect_lower").source == "8.2 More stable. 8.3 Decoupled."


def test_notes_elsewhere_are_no_answers(restore, submitted):
    notes = [("title", "Ada, 4711"), ("todo1_text", "Note to self"), ("todo2_text", "The orange one."), ("fig1", "1")]
    submitted.cells.insert(0, new_markdown_cell("Ada"))
    for name, note in notes:
        new = new_code_cell(note) if name == "fig1" else new_markdown_cell(note)
        submitted.cells.insert(place(submitted, name) + 1, new)
    submitted.cells.insert(place(submitted, "predict") + 2, new_code_cell("guess = 0.7"))
    before = sources(submitted)
    notebook, remarks = restore(submitted)
    assert (sources(notebook), remarks) == (before, [])


def test_code_under_a_question_is_read_and_stays_code(restore, submitted):
    below_the_stub(submitted, new_code_cell("%matplotlib inline\ngap = max(losses)"))
    notebook, _ = restore(submitted)
    assert cell(notebook, "reflect_smooth").source == "```python\n%matplotlib inline\ngap = max(losses)\n```"
    assert [c.cell_type for c in notebook.cells if "gap =" in c.source] == ["markdown", "code"]


def test_what_was_written_into_a_locked_cell_is_still_there(restore, submitted):
    cell(submitted, "todo2_text").source += "\n\nThe orange one."
    notebook, remarks = restore(submitted)
    assert notebook.cells[place(notebook, "todo2_text") + 1].source == "The orange one."
    assert remarks == ["The locked cell `todo2_text` was edited; the original was put back."]


def test_pictures_go_with_the_answer(restore, submitted):
    new = new_markdown_cell("![](attachment:a.png)", attachments={"a.png": {"image/png": "iVBORw0KGgo="}})
    below_the_stub(submitted, new)
    notebook, _ = restore(submitted)
    assert cell(notebook, "reflect_smooth").attachments == new.attachments


# --- Whose notebook it is


def test_a_notebook_of_the_assignment_is_known_whatever_was_lost(release):
    for change in (lose, lambda c: c.update(source="x"), lambda c: c.metadata.clear()):
        notebook = copy.deepcopy(release)
        for found in notebook.cells:
            change(found)
        assert carries(release, notebook)


def test_another_notebook_is_known_as_that(release):
    other = new_notebook(cells=[new_markdown_cell("*Your answer:* …"), new_code_cell("1", id="prediction")])
    assert not carries(release, other)
    assert not carries(release, new_notebook())


def test_whether_anything_was_answered(release):
    notebook = copy.deepcopy(release)
    for found in notebook.cells:
        lose(found)
        found.source = found.source.replace("\n", "\r\n") + "\n"
    notebook.cells.append(new_code_cell(" "))
    assert not answered(release, notebook)
    for name in (OPTIMIZER, "reflect_lower"):
        changed = copy.deepcopy(release)
        cell(changed, name).source = "1"
        assert answered(release, changed)
    notebook.cells.append(new_markdown_cell("8.1: it jumped"))
    assert answered(release, notebook)
