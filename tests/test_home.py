"""What a student or self-learner has in a terminal: `autograder check` and `autograder doctor`."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from bad_inputs import LOOP, OPTIMIZER, cell
from conftest import RELEASE, ROOT

from autograder import doctor, home
from autograder.tinybert import draws

STUB = "raise NotImplementedError('Your code goes here')"


@pytest.fixture
def check(tmp_path, capsys):
    """check(notebook): write it, check it in this process; return exit status and what was printed."""

    def check(notebook):
        path = tmp_path / "mine.ipynb"
        if isinstance(notebook, str):
            path.write_text(notebook)
        else:
            nbformat.write(notebook, path)
        before = path.read_bytes()
        status = home.main([str(path)])
        assert path.read_bytes() == before
        printed = capsys.readouterr()
        return status, " ".join((printed.out + printed.err).split())

    return check


def answered(release, solution, **other):
    """The released notebook with the solution's answers, but for those named."""
    notebook = nbformat.from_dict(release)
    for name in (OPTIMIZER, LOOP):
        cell(notebook, name).source = other.get(name, cell(solution, name).source)
    return notebook


def small(answer, *asserts):
    """A notebook of one answer and check cells that no lesson judges, which starts faster than the lesson's."""
    graded = {"grade": True, "locked": True, "points": 1, "schema_version": 3, "solution": False, "task": False}
    checks = [
        nbformat.v4.new_code_cell(source, metadata={"nbgrader": {**graded, "grade_id": f"test_{k}"}})
        for k, source in enumerate(asserts)
    ]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(answer), *checks])


def test_mistakes_are_named_and_right_answers_pass(check, release, solution):
    forgotten = cell(solution, LOOP).source.replace("optimizer.zero_grad()", "pass")
    status, said = check(answered(release, solution, **{LOOP: forgotten}))
    assert status == 1 and "✓ Parameter groups: 3 of 3 points." in said
    assert "✗ Training loop: 4 of 6 points." in said and "gradients of earlier batches" in said
    assert said.count("three small models of its own") == 1 and len(draws.trials(8)) == 3
    assert "→" in said and "Traceback" not in said and "3 of 4 checks pass." in said


def test_an_untouched_notebook_is_told_what_is_not_written(check, release):
    status, said = check(nbformat.from_dict(release))
    assert status == 1 and f"{OPTIMIZER}: not written yet." in said
    assert "TODO #1 is untouched" in said and "0 of 4 checks pass." in said


def test_checks_without_a_lesson_pass_or_say_their_error(check):
    assert check(small("x = 1", "assert x == 1")) == (0, "✓ test_0 All 1 checks pass.")
    status, said = check(small("x = 1", "assert x == 1", "assert x == 2, 'x is \x1b[2J1'"))
    assert status == 1 and "✗ test_1 stopped with AssertionError: x is [2J1" in said and "1 of 2" in said


def test_a_kernel_that_ends_and_a_loop_without_end_are_sentences(check, monkeypatch):
    status, said = check(small("import os; os._exit(1)", "assert True"))
    assert status == 1 and "the kernel ended here" in said
    monkeypatch.setattr(home, "SECONDS", 2)
    status, said = check(small("while True: pass", "assert True"))
    assert status == 1 and "Is there a loop that never ends?" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("%PDF", "is no notebook"),
        ("[]", "is no notebook"),
        ('{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "is no notebook"),
        (nbformat.writes(nbformat.v4.new_notebook()), "has no check cells"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(check, content, words):
    status, said = check(content)
    assert status == 2 and words in said and said.endswith((".", "?")) and "Traceback" not in said


def test_a_missing_file_and_a_folder_are_sentences(tmp_path, capsys):
    assert home.main([str(tmp_path / "none.ipynb")]) == home.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "There is no file" in said and "is a folder" in said


def test_colour_is_for_terminals_that_want_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for setting, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", setting)
        home.Screen().say(True, "right")
        assert ("\x1b[" in capsys.readouterr().out) is coloured
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    monkeypatch.delenv("NO_COLOR")
    home.Screen().say(True, "right")
    assert "\x1b" not in capsys.readouterr().out


# --- doctor


@pytest.fixture
def looked(monkeypatch):
    """looked(name): {what: Line} of one thing that the doctor looks at."""
    return lambda name: {line.what + ("" if k == 0 else f" {k}"): line for k, line in enumerate(getattr(doctor, name)())}


def test_this_machine_is_described_without_names(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "imports", lambda: [doctor.Line("ok", "imports", "not tried here")])
    monkeypatch.setattr(doctor, "data", lambda: [doctor.Line("NO", "lesson", os.path.expanduser("~/of/me") + " é")])
    monkeypatch.chdir(ROOT)
    status = doctor.main([])
    said = capsys.readouterr().out
    assert status == 1 and "1 to mend, marked NO." in said and f"~{os.sep}of{os.sep}me ?" in said
    assert os.path.expanduser("~") + os.sep not in said and said.isascii()
    for what in ("Python", "packages", "to grade", "kernel", "threads", "memory", "disk", "course", "sandbox"):
        assert re.search(rf"^(ok|note|NO) +{what} ", said, re.MULTILINE), what


def test_what_looks_at_something_may_break(monkeypatch, capsys):
    for name in ("imports", "packages", "kernel", "memory"):
        monkeypatch.setattr(doctor, name, lambda: [][0])
    assert doctor.main([]) == 1 and "could not be looked at: IndexError" in capsys.readouterr().out


def test_other_versions_are_noted_and_those_out_of_range_are_to_be_mended(monkeypatch):
    needs = ["torch>=2.9,<3", "nowhere>=1", "tqdm<1", "landlockpy; extra == 'instructor'"]
    monkeypatch.setattr(doctor, "about", lambda: ("1", ">=3.11,<3.15", needs))
    monkeypatch.setattr(doctor, "tested", lambda: {"torch": "2.9.0"})
    lines = [line for line in doctor.packages() if line.what == "packages"]
    assert [line.state for line in lines] == ["NO", "NO", "ok"]
    assert "nowhere is missing" in lines[0].said and 'install "nowhere>=1"' in lines[0].mend
    assert "it has to be <1" in lines[1].said and "(tested with 2.9.0)" in lines[2].said


@pytest.mark.parametrize(
    ("platform", "machine", "version", "words"),
    [
        ("linux-x86_64", "x86_64", (3, 13), None),
        ("macosx-11.0-arm64", "arm64", (3, 13), None),
        ("win-amd64", "AMD64", (3, 13), None),
        ("macosx-10.13-x86_64", "x86_64", (3, 13), "Intel"),
        ("win-arm64", "ARM64", (3, 13), "x86-64 Python"),
        ("linux-x86_64", "x86_64", (3, 15), "take Python"),
        ("linux-x86_64", "x86_64", (3, 10), "take Python"),
    ],
)
def test_where_there_is_no_torch_it_is_said(monkeypatch, platform, machine, version, words):
    monkeypatch.setattr(doctor, "about", lambda: ("1", "<3.15,>=3.11", []))
    monkeypatch.setattr("sysconfig.get_platform", lambda: platform)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sys.version_info", (*version, 0, "final", 0))
    (line,) = doctor.python()
    assert line.state == "ok" if words is None else line.state == "NO" and words in line.mend


def test_a_library_that_does_not_load_is_named(monkeypatch, tmp_path):
    (tmp_path / "broken_one.py").write_text("raise OSError('[WinError 126] DLL\\nnot found')")
    (tmp_path / "crashes.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "IMPORTS", ("json", "broken_one", "crashes"))
    first, second = doctor.imports()
    assert "broken_one does not load: OSError [WinError 126] DLL not found" in first.said
    assert "Visual C++" in first.mend and "crashes ended the process with status 3" in second.said


def test_a_damaged_copy_is_named(monkeypatch, tmp_path):
    from autograder.tinybert import lesson

    monkeypatch.setattr(lesson, "data_folder", lambda: tmp_path)
    assert "data/ lacks reviews/train.csv" in next(doctor.data()).said
    for name in doctor.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("version https://git-lfs")
    assert "is no model" in next(doctor.data()).said


def test_a_folder_that_is_a_course_needs_its_source(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert next(doctor.course()).state == "ok"
    (tmp_path / "nbgrader_config.py").write_text('c.CourseDirectory.source_directory = "solutions"\n')
    assert next(doctor.course()).state == "NO"
    (tmp_path / "solutions" / "a").mkdir(parents=True)
    (tmp_path / "solutions" / "a" / "a.ipynb").touch()
    assert next(doctor.course()).said == "solutions/ has a"


def test_the_doctor_needs_no_package_of_others(tmp_path):
    """In a Python that has Python's own modules alone, it says that nothing is installed, once, and where it is."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "autograder").touch()
    done = subprocess.run(
        [sys.executable, "-S", "-m", "autograder", "doctor"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr == "", done.stderr
    assert "nothing of the lesson is installed in this Python" in done.stdout and "1 to mend" in done.stdout
    assert "in this folder: .venv/bin/autograder doctor" in done.stdout
    assert re.search("^ok +lesson", done.stdout, re.MULTILINE)


def test_the_program_has_both(tmp_path):
    run = [sys.executable, "-m", "autograder"]
    done = subprocess.run([*run, "check", RELEASE.parent], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "is a folder" in done.stderr and "Traceback" not in done.stderr
