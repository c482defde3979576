"""Receiving what was submitted: any file, any name, nothing by way of a link."""

import copy
import os
import socket

import nbformat
import pytest
from bad_inputs import OPTIMIZER, cell
from conftest import ASSIGNMENT
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.coursedir import CourseDirectory

from autograder.grading.faults import NotGraded
from autograder.grading.submissions import folders, notebooks, receive

NAME = f"{ASSIGNMENT}.ipynb"


@pytest.fixture
def course(tmp_path):
    return CourseDirectory(root=str(tmp_path), ignore=[".ipynb_checkpoints", "*.pyc", ".*"])


@pytest.fixture
def folder(course, tmp_path):
    folder = tmp_path / "submitted" / "anna" / ASSIGNMENT
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def answer(release):
    notebook = copy.deepcopy(release)
    cell(notebook, OPTIMIZER).source = "optimizer = 1"
    return notebook


@pytest.fixture
def taken(course, folder, release):
    """Return what a function comes to: (the notebook, remarks), or the sentence that says why there is none."""

    def run():
        submission = receive("anna", folder, course)
        try:
            found = notebooks(submission, {ASSIGNMENT: release})
        except NotGraded as why:
            return None, [str(why)]
        return found[ASSIGNMENT], submission.remarks

    return run


def source(notebook):
    return cell(notebook, OPTIMIZER).source


# --- Files


def test_links_pipes_sockets_and_devices_are_left_out(course, folder, tmp_path):
    (tmp_path / "secret").write_text("the secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "inner.txt").write_text("the secret")
    (folder / "a.txt").symlink_to(tmp_path / "secret")
    (folder / "b.txt").symlink_to("nowhere")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    (folder / "inner").mkdir()
    (folder / "inner" / "c.txt").symlink_to("../../../../../secret")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as channel:
        here = os.getcwd()
        os.chdir(folder)  # its path may be too long for a socket
        channel.bind("socket")
        os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(folder / "zero", 0o20644, os.makedev(1, 5))
    (folder / "inner" / "mine.csv").write_text("1, 2")
    submission = receive("anna", folder, course)
    assert submission.files == {"inner/mine.csv": b"1, 2"}
    assert {"a.txt", "b.txt", "data", "round", "inner/c.txt", "pipe", "socket"} <= set(submission.refused)


def test_a_folder_that_is_a_link_is_not_followed(course, folder, tmp_path):
    (folder / NAME).write_text("{}")
    (tmp_path / "submitted" / "ben").symlink_to(tmp_path / "submitted" / "anna")
    (tmp_path / "submitted" / "carl").mkdir()
    (tmp_path / "submitted" / "carl" / ASSIGNMENT).symlink_to(folder)
    for student, path in folders(course, ASSIGNMENT).items():
        if student != "anna":
            with pytest.raises(NotGraded, match="is a link"):
                receive(student, path, course)


def test_sizes_and_numbers_are_bounded_before_reading(course, folder):
    with open(folder / "sparse", "wb") as file:
        file.truncate(10**12)
    for number in range(1200):
        (folder / f"{number:04}").touch()
    deep = folder
    for _ in range(60):
        deep = deep / "a-rather-long-name"
    deep.mkdir(parents=True)
    (deep / "x").touch()
    submission = receive("anna", folder, course)
    assert len(submission.files) == 1000
    assert submission.refused["sparse"].startswith("is ")
    assert any("too long a name" in why for why in submission.refused.values())


def test_all_files_together_are_bounded(course, folder):
    course.max_dir_size = 5  # kilobytes
    for name in "abc":
        (folder / name).write_bytes(b"x" * 2000)
    assert set(receive("anna", folder, course).files) == {"a", "b"}


@pytest.mark.parametrize(
    "student",
    ["a[1]", "new\nline", "=1+cmd|' !A0", "*", "ann?", "Ünï çødé", "a.b", "with space", "-rf", "x" * 200, "{name}"],
)
def test_whatever_a_student_is_called_there_is_a_row(course, tmp_path, student):
    (tmp_path / "submitted" / student / ASSIGNMENT).mkdir(parents=True)
    (tmp_path / "submitted" / student / ASSIGNMENT / "x").touch()
    found = folders(course, ASSIGNMENT)
    assert list(found) == [student]
    assert set(receive(student, found[student], course).files) == {"x"}


def test_other_directory_structures(course, tmp_path):
    course.directory_structure = "{nbgrader_step}/{assignment_id}/team-{student_id}/work"
    (tmp_path / "submitted" / ASSIGNMENT / "team-a[b]" / "work").mkdir(parents=True)
    (tmp_path / "submitted" / ASSIGNMENT / "other" / "work").mkdir(parents=True)
    assert list(folders(course, ASSIGNMENT)) == ["a[b]"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"anna/08_tinybert_finetuning/{NAME}", "but there is `08_tinybert_finetuning` beside it"),
        (f"anna/{NAME}", f"but there is `{NAME}` beside it"),
        ("anna/homework/answers.ipynb", "but there is `homework` beside it"),
        (f"anna/09_other/x.ipynb\nanna/08_TinyBERT_fine_tuning/{NAME}", "`08_TinyBERT_fine_tuning` beside it"),
        (f"{ASSIGNMENT}/{NAME}", f"`{NAME}` beside it"),
        ("anna.ipynb", "`anna.ipynb` is in no student's folder"),
        ("anna/09_other/x.ipynb", None),
        ("anna/09_other/x.ipynb\nanna/drafts/x.ipynb", None),
        ("anna/notes.txt", None),
        ("README.md", None),
    ],
)
def test_what_missed_its_place_is_said(course, tmp_path, path, words):
    for name in ("09_other", ASSIGNMENT):
        (tmp_path / "source" / name).mkdir(parents=True)
        (tmp_path / "source" / name / f"{name}.ipynb").touch()
    for part in path.splitlines():
        (tmp_path / "submitted" / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "submitted" / part).touch()
    found = folders(course, ASSIGNMENT)
    assert folders(course, ASSIGNMENT, "autograded") == {}
    if words is None:
        assert not found
        return
    ((student, folder),) = found.items()
    with pytest.raises(NotGraded) as why:
        receive(student, folder, course)
    assert words in str(why.value)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"2026-11-02 10:00:00 UTC", b"2026-11-02 10:00:00 UTC"),
        (b"\xef\xbb\xbf2026-11-02 12:00:00 +0200", b"2026-11-02 10:00:00 UTC"),
        ("2026-11-02 10:00".encode("utf-16"), b"2026-11-02 10:00:00 UTC"),
        (b"", None),
        (b" \n", None),
        (b"yesterday evening", "unknown"),
        (b"2026-13-45 \x1b[2J tomorrow", "unknown"),
        (b"\xff\xfe\x00", "unknown"),
        (b"9" * 10_000, "unknown"),
        (b"99999999999999999999", "unknown"),
    ],
)
def test_time_stamps(course, folder, text, kept):
    (folder / "timestamp.txt").write_bytes(text)
    submission = receive("anna", folder, course)
    if kept == "unknown":
        assert "timestamp.txt" not in submission.files and "unknown" in submission.remarks[0]
    else:
        assert submission.files.get("timestamp.txt") == kept and not submission.remarks


def test_a_time_stamp_that_is_a_link_is_unknown(course, folder):
    (folder / "timestamp.txt").symlink_to("/etc/hostname")
    assert "unknown" in receive("anna", folder, course).remarks[0]


def test_the_digest_tells_submissions_apart(course, folder):
    def digest():
        return receive("anna", folder, course).digest()

    seen = [digest()]
    for change in (
        lambda: (folder / NAME).write_text("{}"),
        lambda: (folder / NAME).rename(folder / "other.ipynb"),
        lambda: (folder / "timestamp.txt").write_text("2026-11-02 10:00:00 UTC"),
        lambda: (folder / "link").symlink_to("nowhere"),
        lambda: (folder / ".hidden").write_text("of no matter"),
    ):
        change()
        seen.append(digest())
    assert len(set(seen)) == 5 and seen[-1] == seen[-2]


# --- Which notebook


@pytest.mark.parametrize(
    "name", [f"{ASSIGNMENT} (1).ipynb", f"{NAME}.txt", f"{NAME}.json", f"Copy of {NAME}", "anna_12345_08-1.IPYNB", "[1].ipynb"]
)
def test_a_notebook_under_another_name_is_graded(taken, folder, answer, name):
    (folder / name).write_text(nbformat.writes(answer))
    notebook, remarks = taken()
    assert source(notebook) == "optimizer = 1"
    assert remarks == [f"Graded from `{name}`: `{NAME}` is not there."]


def test_of_two_the_one_with_the_name_counts(taken, folder, answer):
    nbformat.write(answer, folder / NAME)
    cell(answer, OPTIMIZER).source = "optimizer = 2"
    nbformat.write(answer, folder / "copy.ipynb")
    notebook, remarks = taken()
    assert source(notebook) == "optimizer = 1"
    assert remarks == ["`copy.ipynb` holds answers, too, and was not graded."]


def test_a_copy_of_the_same_is_no_other_answer(taken, folder, answer):
    for name in ("a.ipynb", "b.ipynb"):
        nbformat.write(answer, folder / name)
    assert taken()[1] == [f"Graded from `a.ipynb`: `{NAME}` is not there."]
    nbformat.write(answer, folder / NAME)
    assert taken()[1] == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "is a link"),
        (lambda path: path.write_bytes(b"x" * 200_000), "clear its largest outputs"),
    ],
)
def test_an_older_copy_does_not_stand_for_what_cannot_be_received(taken, course, folder, answer, spoil, words):
    course.max_file_size = 100  # kilobytes
    nbformat.write(answer, folder / "old.ipynb")
    spoil(folder / NAME)
    notebook, (sentence,) = taken()
    assert notebook is None and words in sentence


@pytest.mark.parametrize(("name", "words"), [(NAME, "breaks off"), ("mine.ipynb", "`mine.ipynb`: The file's JSON breaks off")])
def test_a_damaged_notebook_is_not_graded(taken, folder, name, words):
    (folder / name).write_text('{"cells": [')
    notebook, (sentence,) = taken()
    assert notebook is None and words in sentence


def test_notebooks_are_received_before_all_else(course, folder, answer):
    for number in range(1100):
        (folder / f"{number:04}").touch()
    nbformat.write(answer, folder / "zzz.ipynb")
    assert "zzz.ipynb" in receive("anna", folder, course).files


@pytest.mark.parametrize(("named", "words"), [("untouched", "as it was handed out"), ("damaged", "cannot be read")])
def test_of_two_the_written_one_counts(taken, folder, release, answer, named, words):
    nbformat.write(release, folder / NAME)
    if named == "damaged":
        (folder / NAME).write_text("{")
    nbformat.write(answer, folder / f"{ASSIGNMENT}-Copy1.ipynb")
    notebook, remarks = taken()
    assert source(notebook) == "optimizer = 1"
    assert len(remarks) == 1 and words in remarks[0] and "Copy1" in remarks[0]


def test_an_untouched_copy_is_no_choice(taken, folder, release, answer):
    nbformat.write(release, folder / "copy.ipynb")
    nbformat.write(answer, folder / "mine.ipynb")
    notebook, _ = taken()
    assert source(notebook) == "optimizer = 1"


def test_between_two_answers_a_person_chooses(taken, folder, release, answer):
    nbformat.write(answer, folder / "one.ipynb")
    cell(answer, OPTIMIZER).source = "optimizer = 2"
    nbformat.write(answer, folder / "two.ipynb")
    assert taken() == (None, [f"Which of `one.ipynb`, `two.ipynb` counts? Leave one, as `{NAME}`."])
    nbformat.write(release, folder / NAME)
    assert taken()[0] is None
    (folder / "two.ipynb").unlink()
    assert source(taken()[0]) == "optimizer = 1"


def test_other_notebooks_are_not_taken(taken, folder, release):
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), folder / "Untitled.ipynb")
    assert taken() == (None, [f"There is no `{NAME}`, and `Untitled.ipynb` is no notebook of this assignment."])
    nbformat.write(release, folder / NAME)
    assert source(taken()[0]) == cell(release, OPTIMIZER).source


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda folder: None, "empty"),
        (lambda folder: (folder / NAME).mkdir(), "empty"),
        (lambda folder: ((folder / NAME).mkdir(), (folder / NAME / "x").touch()), "is a folder"),
        (lambda folder: (folder / "work.zip").touch(), "unpack it"),
        (lambda folder: (folder / NAME).symlink_to("/etc/passwd"), "is a link"),
        (lambda folder: os.mkfifo(folder / NAME), "is a pipe"),
        (lambda folder: ((folder / "sub").mkdir(), (folder / "sub" / NAME).write_text("{}")), "move it up"),
        (lambda folder: (folder / "answer.docx").touch(), "only `answer.docx`"),
        (lambda folder: (folder / "timestamp.txt").write_text("2026-11-02 10:00:00 UTC"), "empty"),
    ],
)
def test_without_a_notebook_there_is_a_sentence(taken, folder, build, words):
    build(folder)
    notebook, (sentence,) = taken()
    assert notebook is None and words in sentence


def test_a_file_in_place_of_the_folder(course, folder):
    folder.rmdir()
    folder.write_text("hello")
    with pytest.raises(NotGraded, match="a file where the folder"):
        receive("anna", folder, course)


def test_what_nobody_may_read(course, folder, monkeypatch):
    """As root everything may be read, so the system's answer is made up."""
    (folder / "x").touch()
    opened, listed = os.open, os.listdir

    def refuse(path, *arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("autograder.grading.submissions.os.open", refuse)
    submission = receive("anna", folder, course)
    assert submission.refused == {"x": "cannot be read (Permission denied)"}
    monkeypatch.setattr("autograder.grading.submissions.os.open", opened)
    monkeypatch.setattr("autograder.grading.submissions.os.listdir", refuse)
    with pytest.raises(NotGraded, match="change its rights"):
        receive("anna", folder, course)
    monkeypatch.setattr("autograder.grading.submissions.os.listdir", listed)
    monkeypatch.setattr("autograder.grading.submissions.os.lstat", refuse)
    assert list(folders(course, ASSIGNMENT)) == ["anna"]
    with pytest.raises(NotGraded, match="change its rights"):
        receive("anna", folder, course)
