"""Submissions that try to get points they do not deserve: see tests/tampering."""

import pytest
from catalogue import Answer, graded
from conftest import ROOT

FOLDER = ROOT / "tests" / "tampering"
TAMPERING = {
    path.stem: Answer(path.stem, False, path.read_text())
    for path in sorted(FOLDER.glob("*.md"))
    if path.stem != "README"
}


@pytest.fixture(scope="module", params=["autograder grade", "nbgrader autograde"])
def results(request, tmp_path_factory):
    return graded(tmp_path_factory.mktemp("tampered") / "course", TAMPERING, *request.param.split())


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_gains_no_point(results, name):
    deserved, found = TAMPERING[name].points, results[name]
    assert all(got <= most for got, most in zip(found.points, deserved)), found


def test_there_are_enough():
    assert len(TAMPERING) >= 30
