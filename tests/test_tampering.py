"""Submissions that try to get points they do not deserve: see tests/tampering."""

import pytest
from catalogue import Answer, graded
from conftest import ROOT, asked_for

FOLDER = ROOT / "tests" / "tampering"
TAMPERING = {
    path.stem: Answer(path.stem, False, path.read_text())
    for path in sorted(FOLDER.glob("*.md"))
    if path.stem != "README"
}


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tampered") / "course"
    return graded(folder, asked_for(request, TAMPERING), "autograder", "grade")


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_gains_nothing_unmarked_but_what_is_listed(results, name):
    answer, found = TAMPERING[name], results[name]
    gains = any(got > most for got, most in zip(found.points, answer.points))
    listed = bool(answer.header("Listed"))
    assert (gains and not found.marks) == listed, found


@pytest.mark.parametrize("name", TAMPERING)
def test_it_is_held_by_a_verdict_and_not_by_a_slip_of_its_own(results, name):
    """A forgery that stops with an ImportError, after something was renamed, shows nothing."""
    assert results[name].errors == (TAMPERING[name].header("Stops with") or "").split(), results[name]


def test_nbgraders_own_command_gives_the_same(results, tmp_path):
    """For every fourth: it takes them one by one, and has nothing of its own that could be tampered with."""
    some = dict(list(TAMPERING.items())[::4])
    for name, found in graded(tmp_path / "course", some, "nbgrader", "autograde").items():
        assert (found.points, found.rules) == (results[name].points, results[name].rules), name
        assert bool(found.marks) == bool(results[name].marks), name


def test_there_are_enough():
    assert len(TAMPERING) >= 30
