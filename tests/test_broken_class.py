"""A class in which every second folder is broken in another way: everybody else is graded, and nothing is silent."""

import copy
import csv
import json
import os

import nbformat
import pytest
from bad_inputs import LOOP, OPTIMIZER, cell
from conftest import ASSIGNMENT, RELEASE, ROOT, Course
from nbformat.v4 import new_code_cell

from autograder.grading import answers

NAME = RELEASE.name
FULL = [3, 2, 6, 3]
RIGHT = answers.parse((ROOT / "data" / "sample_class" / "right-first-time.md").read_text())
SEND_NONSENSE = """
kernel = get_ipython().kernel
for kind in ("execute_result", "display_data", "stream", "status", "error", "clear_output", "update_display_data"):
    for content in ({"WHICH": 1}, {"data": 5, "text": None}, {"execution_state": [], "name": 7}):
        kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent("shell"))
kernel.iopub_socket.send_multipart([b"nothing", b"of", b"this", b"is", b"a", b"message"])
"""
LARGE = """
for k in range(40):
    display({"text/plain": "x" * 10_000_000, "image/png": "A" * 100, "application/x": "y" * 10_000_000}, raw=True)
"""
LOOT = """
for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
    try:
        print("LOOT:", name, open(name, "rb").read()[:40])
    except OSError as error:
        print("REFUSED:", error)
"""
ESCAPES = r"optimizer = type('\x1b]0;attack-was-here\x07\x1b[2J\x1b[1Gpoison  3  2  6  3  14  -', (), {})()"


def written(change=lambda notebook: None, name=NAME):
    """Return what writes a right notebook, changed, to a folder."""

    def build(folder, right):
        notebook = copy.deepcopy(right)
        change(notebook)
        nbformat.write(notebook, folder / name)

    return build


def more(code, where=OPTIMIZER):
    """Return what adds code to a cell of a right notebook."""

    def change(notebook):
        cell(notebook, where).source += "\n" + code

    return written(change)


def raw(change):
    """Return what writes a right notebook whose JSON was changed."""

    def build(folder, right):
        notebook = json.loads(nbformat.writes(right))
        change(notebook)
        (folder / NAME).write_text(json.dumps(notebook), encoding="utf-8")

    return build


def encoded(*encoding):
    """Return what writes a right notebook in another encoding."""

    def build(folder, right):
        (folder / NAME).write_bytes(nbformat.writes(right).encode(*encoding))

    return build


def beside(add):
    """Return what writes a right notebook and adds something to its folder."""

    def build(folder, right):
        nbformat.write(right, folder / NAME)
        add(folder)

    return build


def instead(add):
    """Return what adds something to a folder without a notebook."""
    return lambda folder, right: add(folder)


def link_to_secrets(folder):
    course = folder.parents[2]
    for name, to in (
        ("a.txt", ".secret"), ("b.txt", f"solutions/{ASSIGNMENT}/{NAME}"), ("c.txt", "gradebook.db"),
        ("d.txt", f"submitted/01-honest/{ASSIGNMENT}/{NAME}"), ("course", "."),
    ):  # fmt: skip
        (folder / name).symlink_to(course / to)


def nested(notebook):
    for _ in range(400):
        notebook["metadata"] = {"more": notebook["metadata"]}


def crowd(notebook):
    notebook["cells"] += [{"cell_type": "code", "source": "1", "metadata": {}, "outputs": []}] * 30_000


def surrogates(notebook):
    notebook["cells"].insert(3, {"cell_type": "code", "id": "t1", "metadata": {}, "source": "print('\ud800')", "outputs": []})
    notebook["cells"].append({"cell_type": "markdown", "id": "t2", "metadata": {}, "source": "half: \ud800"})


def strange_types(notebook):
    notebook["cells"][2:2] = [
        {"cell_type": "code", "id": 5, "metadata": {"tags": 5}, "source": "1", "outputs": [], "execution_count": True},
        {"cell_type": "code", "id": "", "metadata": {"tags": None}, "source": ["1", None], "outputs": "x"},
        {"cell_type": ["code"], "metadata": [], "source": "1", "outputs": [{"output_type": {}}]},
        None,
    ]
    notebook["metadata"] = {"kernelspec": 7, "autograder": {"unreadable": True, "remarks": [
        "The grader's own kernel failed: give 14 points by hand."], "seconds": "x", "losses": ["a", None], "limits": 5}}


def without_metadata(notebook):
    for number, found in enumerate(notebook.cells):
        if (found.metadata.get("nbgrader") or {}).get("grade_id", "").startswith("reflect_"):
            found.source = f"It jumped between 0.4 and 1.2, said I in cell {number}."
        found.metadata = {}
        found.id = new_code_cell().id


# Student: (what to build, the points or None where nothing can be graded, words of the report)
BROKEN = {
    "renamed": (written(name=f"{ASSIGNMENT} (1).ipynb"), FULL, "Graded from"),
    "renamed-by-lms": (written(name="x_12345_late_98765_08_tinybert-2.ipynb"), FULL, "Graded from"),
    "pipe": (beside(lambda f: os.mkfifo(f / "pipe")), FULL, "`pipe` is a pipe"),
    "links": (lambda folder, right: (more(LOOT)(folder, right), link_to_secrets(folder)), FULL, "is a link"),
    "time-stamp": (beside(lambda f: (f / "timestamp.txt").write_text("2026-13-45 \x1b[2J tomorrow")), FULL, "is unknown"),
    "bytes-in-time-stamp": (beside(lambda f: (f / "timestamp.txt").write_bytes(b"\xff\xfe\x00")), FULL, "is unknown"),
    "byte-order-mark": (encoded("utf-8-sig"), FULL, ""),
    "utf-16": (encoded("utf-16"), FULL, ""),
    "surrogates": (raw(surrogates), FULL, ""),
    "surrogates-printed": (more(r'print("\ud800 half")'), FULL, ""),
    "surrogates-raised": (more(r'raise ValueError("\ud800 half")', LOOP), FULL, "stopped with"),
    "strange-types": (raw(strange_types), FULL, ""),
    "nested": (raw(nested), FULL, ""),
    "crowd": (raw(crowd), FULL, "extra cells"),
    "no-metadata": (written(without_metadata), FULL, ""),
    "nonsense-on-the-wire": (more(SEND_NONSENSE), FULL, ""),
    "large-displays": (more(LARGE), FULL, "Output was cut"),
    "escapes": (lambda f, right: written(lambda nb: setattr(cell(nb, OPTIMIZER), "source", ESCAPES))(f, right), [0, 0, 6, 3], ""),
    "empty": (instead(lambda f: None), None, "empty"),
    "folder-in-its-place": (instead(lambda f: (f / NAME).mkdir()), None, "empty"),
    "zip": (instead(lambda f: (f / "work.zip").write_bytes(b"PK")), None, "unpack it"),
    "one-folder-deeper": (lambda f, right: ((f / "x").mkdir(), written()(f / "x", right)), None, "move it up"),
    "another-notebook": (instead(lambda f: nbformat.write(nbformat.v4.new_notebook(), f / "Untitled.ipynb")), None, "Untitled"),
    "pipe-in-its-place": (instead(lambda f: os.mkfifo(f / NAME)), None, "is a pipe"),
    "link-in-its-place": (instead(lambda f: (f / NAME).symlink_to(f"../../01-honest/{ASSIGNMENT}/{NAME}")), None, "is a link"),
    "two-answers": (lambda f, right: (written(name="a.ipynb")(f, right), more("1", LOOP)(f, right), (f / NAME).rename(f / "b.ipynb")), None, "Which of"),
    "brackets[1]": (written(), FULL, ""),
    "new\nline": (written(), FULL, ""),
    "=1+cmd|' !A0": (written(), FULL, ""),
    "damaged": (instead(lambda f: (f / NAME).write_text('{"cells": [')), None, "breaks off"),
    "a-pdf": (instead(lambda f: (f / NAME).write_bytes(b"%PDF-1.7")), None, "is a PDF"),
    "huge": (instead(lambda f: os.truncate(os.open(f / NAME, os.O_CREAT | os.O_WRONLY), 10**11)), None, "too large"),
}  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    course = Course.copy(tmp_path_factory.mktemp("broken"))
    right = answers.fill(nbformat.read(RELEASE, 4), RIGHT)
    for number, (student, (build, _, _)) in enumerate(BROKEN.items()):
        for name, spoil in ((f"{number:02}-honest", written()), (student, build)):
            folder = course.folder / "submitted" / name / ASSIGNMENT
            folder.mkdir(parents=True)
            spoil(folder, right)
    course.status, course.printed = course.run("autograder", "grade")
    course.found = course.rows()
    return course


def test_everybody_else_is_graded_and_the_status_says_that_some_are_not(course):
    assert course.status == 1, course.printed[-3000:]
    for number in range(len(BROKEN)):
        row = course.found[f"{number:02}-honest"]
        assert list(row.points.values()) == FULL and not row.said and not row.limits, row


@pytest.mark.parametrize("student", BROKEN)
def test_each_gets_what_it_deserves_and_a_sentence(course, student):
    _, points, words = BROKEN[student]
    row = course.found[student]
    assert words in " ".join(row.said + row.limits), row
    assert row.graded == (points is not None)
    if points:
        assert list(row.points.values()) == points, row
    else:
        assert row.not_graded and len(row.said) == 1
        shown = " ".join(student.split())
        assert f"{shown} was not graded: {row.not_graded}" in course.printed
    assert "assignment is at fault" not in course.printed and "Traceback" not in course.printed


def test_the_report_is_written_with_a_row_for_everybody(course):
    page = (course.folder / "report.html").read_text()
    for student in BROKEN:
        shown = " ".join(student.split()).replace("'", "&#39;")
        assert shown in page, student
    assert "give 14 points" not in page


def test_nothing_reaches_through_links(course):
    secret = (course.folder / ".secret").read_text()
    for path in course.folder.rglob("*"):
        if "autograded" in path.parts:
            assert not path.is_symlink()
            if path.is_file():
                content = path.read_bytes()
                assert secret.encode() not in content and b"SQLite format" not in content, path
    graded = course.folder / "autograded" / "links" / ASSIGNMENT / NAME
    assert "LOOT: " not in str([c.get("outputs") for c in nbformat.read(graded, 4).cells])


def test_reflections_without_metadata_wait_for_a_person(course):
    row = course.found["no-metadata"]
    assert row.waiting == 7
    text = (course.folder / "autograded" / "no-metadata" / ASSIGNMENT / NAME).read_text()
    assert text.count("It jumped between 0.4 and 1.2") == 7


def test_what_is_kept_is_bounded(course):
    for path in (course.folder / "autograded").glob("*/*/*"):
        assert path.stat().st_size < 5_000_000, path


def test_the_terminal_is_not_steered(course):
    status, printed = course.run("autograder", "report")
    assert status == 0
    assert not {c for c in printed + course.printed if ord(c) < 32} - {*"\n\r\t\x1b"}
    assert "\x1b]" not in printed + course.printed and "\x1b[2J" not in printed + course.printed


def test_the_spreadsheet_runs_nothing(course):
    assert course.run("nbgrader", "export")[0] == 0
    with open(course.folder / "grades.csv", newline="") as file:
        students = [row["student_id"] for row in csv.DictReader(file)]
    assert "'=1+cmd|' !A0" in students and not [name for name in students if name.startswith("=")]


def test_what_was_mended_is_graded_the_next_time(course):
    zipped = course.folder / "submitted" / "zip" / ASSIGNMENT
    written()(zipped, answers.fill(nbformat.read(RELEASE, 4), RIGHT))
    status, printed = course.run("autograder", "grade")
    graded = sum(points is not None for _, points, _ in BROKEN.values()) + len(BROKEN)
    assert status == 1 and f"{graded} submissions graded already" in printed
    assert "zip was not graded" not in printed
    row = course.rows()["zip"]
    assert list(row.points.values()) == FULL and row.not_graded is None
