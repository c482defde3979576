"""Every answer in the catalogue, graded for real and checked as at home: see tests/answers."""

import pytest
from catalogue import catalogue, graded
from conftest import asked_for
from verdicts import verdicts

ANSWERS = catalogue()
# All of them, with ten seeds: tests/benchmarks/verdicts.py.
AT_HOME = dict(list(ANSWERS.items())[::32])


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalogue") / "course"
    return graded(folder, asked_for(request, ANSWERS), "autograder", "grade")


@pytest.fixture(scope="module")
def at_home(request):
    return {name: home for name, home, _ in verdicts(asked_for(request, AT_HOME), seeds=())}


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_gets_what_it_deserves(results, name):
    answer, found = ANSWERS[name], results[name]
    assert (found.points, found.rules) == (answer.points, answer.rules), found.said
    assert not answer.missing(found.said), found.said


@pytest.mark.parametrize("name", AT_HOME)
def test_the_students_own_check_says_what_the_grade_says(results, at_home, name):
    home, grade = at_home[name], results[name]
    assert (home.points, home.rules) == (grade.points, grade.rules), (home.said, grade.said)


def test_honest_answers_are_hardly_ever_marked_for_a_look(results):
    marked = {name: found.marks for name, found in results.items() if found.marks}
    assert len(marked) <= len(ANSWERS) / 200, marked


def test_catalogue_is_large_enough():
    right = sum(answer.right for answer in ANSWERS.values())
    assert right >= 60 and len(ANSWERS) - right >= 120
