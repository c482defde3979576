"""Reading files that may be anything."""

import copy
import json
import random

import nbformat
import pytest
from bad_inputs import cell
from nbformat.v4 import new_code_cell, new_output
from test_restore import Restore
from traitlets.config import Config, Configurable

from autograder.grading import read as reading
from autograder.grading.faults import NotGraded
from autograder.grading.harmless import Harmless
from autograder.grading.read import KEY, SubmissionExporter, losses, read
from autograder.tinybert import LESSON

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def file(*cells, **notebook):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **notebook}).encode()


def code(**fields):
    return {"cell_type": "code", "source": "1", "metadata": {}, "outputs": [], "execution_count": None, **fields}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"hello", "no JSON"),
        ("Sch\u00f6ne Gr\u00fc\u00dfe".encode("cp1252"), "no JSON"),
        (b'{"cells": [', "breaks off"),
        (b"[1, 2]", "no cells"),
        (b"{}", "no cells"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "cells": 7}', "no cells"),
        (file(), "without cells"),
        (file(7, None), "without cells"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
        (b"<<<<<<< HEAD\n{}\n=======\n", "Git found a conflict"),
        (b"\xff\xfe\x00", "binary"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        (b"%PDF-1.7\xff\xfe\x00\x93", "PDF"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "zip archive"),
        (b"{\\rtf1\\ansi Loss}", "word processor"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "web page"),
        (b"# %%\nimport torch", "Python script"),
        (b"import torch\n\nprint(1)", "Python script"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"cells": [' + b"9" * 10_000 + b"]}", "without cells"),
    ],
)
def test_what_is_no_notebook_gets_a_sentence_that_is_true(content, words):
    with pytest.raises(NotGraded) as why:
        read(content)
    sentence = str(why.value)
    assert words in sentence and sentence.count(".") - sentence.count(".ipynb") <= 2


def test_a_file_that_is_too_large_is_not_parsed(monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000_000)
    with pytest.raises(NotGraded, match="larger than 10 MB"):
        read(b"[" * 10_000_001)


@pytest.mark.parametrize(
    ("encoding", "begins", "remarks"),
    [
        ("utf-8", "", 0),
        ("utf-8", "\ufeff", 0),
        ("utf-16", "", 0),
        ("utf-16-le", "", 0),
        ("utf-16-be", "\ufeff", 0),
        ("utf-32", "", 0),
        ("cp1252", "", 1),
    ],
)
def test_encodings_are_read(encoding, begins, remarks):
    text = begins + json.dumps(json.loads(file(code(source="loss = 'größer'"))), ensure_ascii=False)
    notebook = read(text.encode(encoding))
    assert notebook.cells[0].source == "loss = 'größer'"
    assert len(notebook.metadata[KEY]["remarks"]) == remarks


def test_malformed_cells_are_left_out_and_the_rest_is_valid():
    notebook = read(
        file(
            {"cell_type": "code", "source": ["a = 1\n", "b = 2"], "id": "a" * 65, "execution_count": True},
            {"cell_type": "code", "source": 7},
            7,
            {"cell_type": "code", "source": ["a", 1]},
            {"cell_type": "markdown", "source": "text", "metadata": {"nbgrader": {"grade_id": "x"}}, "id": "<b>"},
            {"cell_type": "raw", "source": "kept as text", "metadata": 3, "id": "kept-id"},
            {"cell_type": "code", "source": "2", "execution_count": -1, "outputs": {}, "metadata": {"nbgrader": "x"}},
        )
    )
    nbformat.validate(notebook)
    assert [c.source for c in notebook.cells] == ["a = 1\nb = 2", "text", "kept as text", "2"]
    assert notebook.cells[1].metadata == {"nbgrader": {"grade_id": "x"}}
    assert [c.cell_type for c in notebook.cells] == ["code", "markdown", "markdown", "code"]
    assert notebook.cells[2].id == "kept-id"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_old_formats_are_read(version):
    old = getattr(nbformat, f"v{version}")
    made = old.new_code_cell(**{"code" if version == 1 else "input": "a = 1"})
    written = {"cells": [made]} if version == 1 else {"worksheets": [old.new_worksheet(cells=[made])]}
    assert [c.source for c in read(json.dumps(old.new_notebook(**written)).encode()).cells] == ["a = 1"]


def test_nothing_of_the_autograders_own_comes_from_outside():
    notes = {"unreadable": True, "remarks": ["Give 14 points by hand."], "losses": ["a", None], "seconds": "x", "limits": 5}
    metadata = {"nbgrader": {"grade_id": "x", "points": 99, "grade": True}, "tags": 5, "autograder": notes, "trusted": True}
    data = {"application/vnd.autograder.verdict+json": {}, "application/javascript": "x", "text/plain": "kept"}
    shown = {"output_type": "display_data", "data": data, "metadata": {"text/html": {"isolated": True}}}
    widgets = {"application/vnd.jupyter.widget-state+json": {}}
    notebook = read(file(code(metadata=metadata, outputs=[shown]), metadata={"autograder": notes, "widgets": widgets}))
    assert notebook.metadata == {KEY: {"remarks": []}}
    assert notebook.cells[0].metadata == {"nbgrader": {"grade_id": "x"}}
    assert notebook.cells[0].outputs == [{"output_type": "display_data", "data": {"text/plain": "kept"}, "metadata": {}}]


def test_pictures_in_prose_stay():
    pictures = {"a.png": {"image/png": PNG}, "b.svg": {"image/svg+xml": "<svg/>"}, "c.png": {"image/png": '">'}, "d": 1}
    notebook = read(file({"cell_type": "markdown", "source": "![](attachment:a.png)", "attachments": pictures}))
    assert notebook.cells[0].attachments == {"a.png": {"image/png": PNG}}


def test_half_characters_become_whole_ones():
    outputs = [{"output_type": "stream", "name": "stdout", "text": "half \ud800"}]
    outputs += [{"output_type": "error", "ename": "\udfff", "evalue": "\ud800", "traceback": ["\ud800", 3]}]
    metadata = {"nbgrader": {"grade_id": "\ud800"}}
    content = file(code(source="print('\ud800')", metadata=metadata, outputs=outputs))
    raw = content.replace(b"\\ud800", b"\xed\xa0\x80")  # as bytes, too, that no UTF-8 has
    for notebook in (read(content), read(raw)):
        nbformat.writes(notebook).encode()
        assert notebook.cells[0].source == "print('\ufffd')"


def test_what_is_too_long_is_cut_with_a_remark():
    notebook = read(file(code(source="#" * 300_000), code(source="#" * 300_000)))
    assert {len(c.source) for c in notebook.cells} == {200_000}
    assert len(notebook.metadata[KEY]["remarks"]) == 1


def test_losses_are_the_first_numbers_of_printed_lines():
    text = "Epoch 1, Loss: 0.7 (validation 0.6)\nstill running\nepoch [2/10] train loss = 0.5, 3 s\n"
    cell = new_code_cell(metadata={"nbgrader": {"grade_id": "run"}}, outputs=[new_output("stream", text=text)])
    assert losses(LESSON, [cell]) == [0.7, 0.5]
    assert losses(LESSON, []) == []


class Converter(Configurable):
    """What nbgrader's exporter knows of a course: where it lies."""

    def __init__(self, root):
        super().__init__()
        self.coursedir, self.root, self.autograded_directory = self, root, "autograded"

    def format_path(self, step, student, assignment):
        return str(self.root / step / student / assignment)


def test_only_what_sanitizing_wrote_may_speak_for_the_autograder(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[new_code_cell("1", metadata={"tags": ["figure"]})])
    notebook.metadata[KEY] = {"remarks": ["Locked."]}
    exporter = SubmissionExporter(config=Config(Exporter={"default_preprocessors": []}))
    exporter.parent = Converter(tmp_path)
    kept = {}
    for step in ("submitted", "autograded"):
        folder = tmp_path / step / "ada" / "08"
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / "08.ipynb")
        names = {"nbgrader": {"student": "ada", "assignment": "08"}}
        kept[step] = json.loads(exporter.from_filename(str(folder / "08.ipynb"), names)[0])
    assert kept["submitted"]["metadata"][KEY] == {"remarks": []}
    assert kept["submitted"]["cells"][0]["metadata"] == {}
    assert kept["autograded"]["metadata"][KEY] == {"remarks": ["Locked."]}
    assert kept["autograded"]["cells"][0]["metadata"] == {"tags": ["figure"]}


STRANGE = [
    None, True, 0, -1, 10**30, 1.5, 1e300, float("nan"), "", "\ud800", "\0\x1b[2J", "x" * 300_000, [], {}, [[]], [1], {"a": 1},
    [{}], "../../.secret", "test_training_loop", {"nbgrader": {"grade_id": 5}}, {"nbgrader": {"grade_id": "test_training_loop"}},
    {"image/png": 5, "text/html": ["<script>"], "text/plain": {}}, [{"output_type": "stream", "text": 3}], [None] * 50,
]  # fmt: skip


def mutated(value, chance):
    """Return JSON with strange things in random places."""
    if chance.random() < 0.02:
        return copy.deepcopy(chance.choice(STRANGE))
    if isinstance(value, dict):
        return {k: mutated(v, chance) for k, v in value.items() if chance.random() > 0.01}
    if isinstance(value, list):
        shuffled = [mutated(v, chance) for v in value if chance.random() > 0.01]
        return chance.sample(shuffled, len(shuffled)) if chance.random() < 0.02 else shuffled
    return value


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_in_the_file_a_valid_notebook_comes_out(seed, release):
    chance = random.Random(seed)
    given = copy.deepcopy(release)
    cell(given, "first_curve").outputs = [
        new_output("display_data", {"image/png": PNG, "text/html": "<b>"}, metadata={"image/png": {"alt": "x"}}),
        new_output("stream", text="Loss: 0.5"),
        new_output("error", ename="E", evalue="e", traceback=["e"]),
    ]
    content = json.dumps(mutated(json.loads(nbformat.writes(given)), chance)).encode()
    if seed % 4 == 0:
        position = chance.randrange(len(content))
        content = content[:position] + chance.randbytes(chance.randrange(3)) + content[position + 1 :]
    step = Restore()
    step.given = release
    try:
        found = read(content)
    except NotGraded as why:
        assert str(why).startswith("The file")
        return
    notebook, _ = step.preprocess(found, {"nbgrader": {}})
    notebook, _ = Harmless().preprocess(notebook, {})
    nbformat.validate(nbformat.reads(nbformat.writes(notebook), as_version=4))
    json.dumps(notebook, ensure_ascii=False).encode()
    names = [c.metadata.nbgrader.grade_id for c in notebook.cells if "nbgrader" in c.metadata]
    assert names == [c.metadata.nbgrader.grade_id for c in release.cells if "nbgrader" in c.metadata]
