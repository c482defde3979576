"""Answers as text, and the students' zip."""

import zipfile

import pytest
from bad_inputs import OPTIMIZER, cell
from conftest import ASSIGNMENT, ROOT

from autograder.grading import answers
from autograder.grading import release as pack
from autograder.tinybert import LESSON

TEXT = """# name

What it shows, with a ```python fence``` in passing.

## todo1_optimizer
```python
optimizer = 1

optimizer += 1
```

## reflect_smooth
It jumped.
"""


def test_parse():
    assert answers.parse(TEXT) == {
        "todo1_optimizer": "optimizer = 1\n\noptimizer += 1",
        "reflect_smooth": "It jumped.",
    }


def test_fill_changes_a_copy(release):
    before = cell(release, OPTIMIZER).source
    filled = answers.fill(release, answers.parse(TEXT))
    assert cell(filled, OPTIMIZER).source.endswith("+= 1")
    assert cell(release, OPTIMIZER).source == before


def test_an_unknown_cell_is_an_error(release):
    with pytest.raises(KeyError, match="no_such_cell"):
        answers.fill(release, {"no_such_cell": ""})


def test_zip_holds_what_students_need_and_no_more(tmp_path):
    names = pack.pack(tmp_path / "release.zip", ROOT / "notebooks" / ASSIGNMENT, [LESSON])
    short = {name.removeprefix(f"{ASSIGNMENT}/") for name in names}
    assert {
        "README.md", "LICENSE", "pyproject.toml", "autograder/tinybert/checks.py", "autograder/tinybert/judge/training.py",
        "data/reviews/train.csv", "data/tinybert/model.safetensors",
        "notebooks/08_tinybert_fine_tuning/08_tinybert_fine_tuning.ipynb",
    } <= short  # fmt: skip
    assert not [name for name in short if name.startswith(("solutions", "tests", "autograder/grading"))]
    with zipfile.ZipFile(tmp_path / "release.zip") as archive:
        for name in names:
            assert b"HIDDEN TESTS" not in archive.read(name)
