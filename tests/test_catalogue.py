"""Every answer in the catalogue, graded for real: see tests/answers."""

import pytest
from catalogue import catalogue, graded

ANSWERS = catalogue()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return graded(tmp_path_factory.mktemp("catalogue") / "course", ANSWERS, "autograder", "grade")


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_gets_what_it_deserves(results, name):
    answer, found = ANSWERS[name], results[name]
    assert (found.points, found.rules) == (answer.points, answer.rules), found.said
    assert not answer.missing(found.said), found.said


def test_catalogue_is_large_enough():
    right = sum(answer.right for answer in ANSWERS.values())
    assert right >= 60 and len(ANSWERS) - right >= 120
