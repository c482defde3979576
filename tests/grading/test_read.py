"""Reading files that may be anything."""

import io
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output

from autograder.grading.read import KEY, losses, read


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no JSON"),
        ("hello", "no JSON"),
        ('{"cells": [', "breaks off"),
        ("[1, 2]", "no cells"),
        ("{}", "no cells"),
        ('{"nbformat": 4, "nbformat_minor": 5, "cells": 7}', "no cells"),
    ],
)
def test_what_is_no_notebook_becomes_a_stand_in(content, words):
    notebook = read(io.StringIO(content))
    assert notebook.metadata[KEY]["unreadable"] and notebook.cells == []
    assert words in notebook.metadata[KEY]["remarks"][0]


def test_bytes_that_are_no_text():
    notebook = read(io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00"), encoding="utf-8"))
    assert "binary" in notebook.metadata[KEY]["remarks"][0]


def test_malformed_cells_are_left_out_and_the_rest_is_valid():
    cells = [
        {"cell_type": "code", "source": ["a = 1\n", "b = 2"]},
        {"cell_type": "code"},
        7,
        {"cell_type": "markdown", "source": "text", "metadata": {"nbgrader": {"grade_id": "x"}}},
        {"cell_type": "raw", "source": "kept as text", "metadata": 3},
    ]
    content = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    notebook = read(io.StringIO(content))
    nbformat.validate(notebook)
    assert [c.source for c in notebook.cells] == ["a = 1\nb = 2", "text", "kept as text"]
    assert notebook.cells[1].metadata.nbgrader.grade_id == "x"


def test_a_notebook_of_version_3_is_read():
    content = nbformat.v3.new_notebook(
        worksheets=[nbformat.v3.new_worksheet(cells=[nbformat.v3.new_code_cell("a = 1")])]
    )
    assert [c.source for c in read(io.StringIO(nbformat.v3.writes_json(content))).cells] == ["a = 1"]


def test_losses_are_the_first_numbers_of_printed_lines():
    text = "Epoch 1, Loss: 0.7 (validation 0.6)\nstill running\nepoch [2/10] train loss = 0.5, 3 s\n"
    cell = new_code_cell(metadata={"nbgrader": {"grade_id": "run"}}, outputs=[new_output("stream", text=text)])
    assert losses([cell]) == [0.7, 0.5]
    assert losses([]) == []
