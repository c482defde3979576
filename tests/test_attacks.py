"""Submissions that attack, each followed by an honest one, graded for real: see tests/attacks."""

import os
import re
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from conftest import ASSIGNMENT, RELEASE, ROOT, Course, asked_for, contents

from autograder.grading import answers
from autograder.kernels import sandbox

pytestmark = pytest.mark.skipif(sandbox.missing() is not None, reason=str(sandbox.missing()))

FOLDER = Path(__file__).parent / "attacks"
ATTACKS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md")) if path.stem != "README"}
HONEST = (ROOT / "data" / "sample_class" / "right-first-time.md").read_text()
SETTINGS = """
c.Execute.timeout = 8
c.Execute.notebook_timeout = 30
c.WarmProvisioner.require_sandbox = True
c.WarmProvisioner.environment = ["PATH", "PYTHON*", "LANG", "LC_*", "NBGRADER_*", "OMP_*", "COURSE_UNDER_TEST"]
"""
LEFTOVERS = ("attack-was-here", "attackwashere")


def pytest_generate_tests(metafunc):
    """Each of the module's ATTACKS; there are two such modules."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", metafunc.module.ATTACKS)


def header(text, name):
    return re.search(rf"^{name}: (.+)$", text, re.MULTILINE).group(1)


@pytest.fixture(scope="module")
def course(request, tmp_path_factory):
    """The graded course, with what was outside it before and after."""
    course = Course.copy(tmp_path_factory.mktemp("attacked"))
    with open(course.folder / "nbgrader_config.py", "a") as config:
        config.write(request.module.SETTINGS)
    release = nbformat.read(RELEASE, as_version=4)
    for name, text in asked_for(request, request.module.ATTACKS).items():
        # In this order they are graded.
        for student, answer in ((name, text), (f"{name}.honest", HONEST)):
            target = course.folder / "submitted" / student / ASSIGNMENT / RELEASE.name
            target.parent.mkdir(parents=True)
            nbformat.write(answers.fill(release, answers.parse(answer)), target)
    status, printed = course.run("nbgrader", "generate_assignment", ASSIGNMENT, "--force")
    assert status == 0, printed
    course.before = outside(course)
    os.environ["COURSE_UNDER_TEST"] = str(course.folder)
    try:
        course.status, course.printed = course.run("autograder", "grade", ASSIGNMENT, timeout=2400)
    finally:
        del os.environ["COURSE_UNDER_TEST"]
    course.after = outside(course)
    course.found = course.rows()
    return course


def outside(course):
    """Return what no submission may change: the course's own files, and Python's by size and time."""
    kept = {}
    for name in ("solutions", "notebooks", "submitted"):
        kept.update(contents(course.folder / name))
    kept["config"] = (course.folder / "nbgrader_config.py").read_bytes()
    for folder in (Path(sys.prefix), ROOT / "autograder", ROOT / "data"):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                kept[path] = (path.stat().st_size, path.stat().st_mtime_ns)
    return kept


def test_every_submission_is_graded(course, request):
    assert course.status == 0, course.printed[-2000:]
    assert len(course.found) == 2 * len(request.module.ATTACKS) >= 40
    stood = "Landlock, seccomp" if "namespaces" in request.module.SETTINGS else "namespaces, Landlock, seccomp"
    assert {row.walls for row in course.found.values()} == {stood}


def test_attack_gains_nothing(course, name):
    row = course.found[name]
    expected = header(ATTACKS[name], "Points")
    if expected != "any":
        assert str([int(points) for points in row.points.values()]) == expected, row
    graded = (course.folder / "autograded" / name / ASSIGNMENT / RELEASE.name).read_text()
    outputs = [output for cell in nbformat.reads(graded, 4).cells for output in cell.get("outputs", [])]
    loot = [line for output in outputs for line in output.get("text", "").splitlines() if line.startswith("LOOT: ")]
    assert not loot, loot


def test_attack_is_named(course, name):
    row = course.found[name]
    said = " ".join(row.said + row.limits).lower()
    named = header(ATTACKS[name], "Named").lower().split(" or ")
    assert any(words in said for words in named) or "nothing" in named and not said, said


def test_honest_submission_after_it_is_right(course, name):
    row = course.found[f"{name}.honest"]
    assert row.total == 14 and row.said == [] and row.limits == [], row


def test_nothing_else_has_changed(course):
    changed = {path for path in {**course.before, **course.after} if course.before.get(path) != course.after.get(path)}
    assert not changed


def test_nothing_is_left_behind():
    places = [Path("/tmp"), Path("/dev/shm"), Path("/var/tmp"), Path.home(), Path("/etc")]
    left = [path for place in places for path in place.glob("*") if path.name.startswith(LEFTOVERS)]
    assert not left
    assert not [p.info["name"] for p in psutil.process_iter(["name"]) if p.info["name"] in LEFTOVERS]
