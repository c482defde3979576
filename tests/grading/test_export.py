"""grades.csv, as a spreadsheet would take it, and the log, as a terminal would."""

import csv
import logging
import sys
from datetime import timedelta

import pytest
from conftest import ROOT, Course
from gradebooks import DUE, LESSON, make, opened
from nbgrader.api import Gradebook
from nbgrader.plugins import CsvExportPlugin

from autograder.grading.export import CsvExport, cell
from autograder.grading.text import Formatter

HARMFUL = [
    "=1+cmd|' !A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "＝1+1", "＠SUM(A1)",
    "a;=1+1", "a,=1+1", "a\n=1+1", "a| @x", "-", "=", "--1", "-1-1", "+1e5x",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMFUL)
def test_a_formula_is_defused(text):
    found = cell(text)
    for part in found.replace(",", ";").replace("\n", ";").replace("|", ";").split(";"):
        assert part.strip()[:1] not in {*"=+-@＝＋－＠"}
    assert "\t" not in found and "\r" not in found


@pytest.mark.parametrize(
    "value", ["ada", "a=b", "a-b@c.org", "-1", "+1.5", "-1e-05", -2.5, 14.0, "O'Neil", "Ä;b", ""]
)
def test_anything_else_is_left_as_it_is(value):
    assert cell(value) == str(value)


@pytest.fixture
def course(tmp_path):
    """A course with the project's configuration and students of every kind."""
    students = ("ada", "new\nline", "=HYPERLINK(1)", 'comma, "quoted"', "-1")
    course = make(tmp_path, *students)
    with opened(course) as gradebook:
        gradebook.update_or_create_student(
            "ada", first_name="@Ada", last_name="King, Countess", email="a@b.org"
        )
        gradebook.add_student("away")
        gradebook.add_assignment("other")
        gradebook.find_submission(LESSON, "ada").timestamp = DUE + timedelta(days=1)
    config = (ROOT / "nbgrader_config.py").read_text().replace('"fine-tuning"', '"course"')
    (tmp_path / "nbgrader_config.py").write_text(
        config + "\nc.LateSubmissionPlugin.penalty_method = 'zero'\n"
    )
    return course


def exported(folder, *options):
    status, printed = Course(folder).run("nbgrader", "export", *options)
    assert status == 0, printed
    with open(folder / "grades.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_export(course, tmp_path):
    found = exported(tmp_path)
    assert len(found) == 12  # two assignments
    found = {row["student_id"]: row for row in found if row["assignment"] == LESSON}
    assert set(found) == {"ada", "new\nline", "'=HYPERLINK(1)", 'comma, "quoted"', "-1", "away"}
    assert all(None not in row and None not in row.values() for row in found.values())
    ada = found["ada"]
    assert (ada["first_name"], ada["last_name"], ada["email"]) == ("'@Ada", "King, Countess", "a@b.org")
    assert [ada[key] for key in ("raw_score", "late_submission_penalty", "score", "max_score")] == [
        "14.0",
        "14.0",
        "0.0",
        "28.0",
    ]
    assert [found["away"][key] for key in ("timestamp", "raw_score", "score")] == ["", "0.0", "0.0"]
    assert found["-1"]["score"] == "14.0"


def test_the_report_reads_the_same_configuration(course, tmp_path):
    status, printed = Course(tmp_path).run("autograder", "report", LESSON)
    assert status == 0 and "late: by 1 day, penalty 14 points." in " ".join(printed.split()), printed
    assert "penalty 14 points." in (tmp_path / "report.html").read_text()


def test_export_of_some(course, tmp_path):
    students = "--student=['ada', 'new\\nline']"
    found = exported(tmp_path, f"--assignment=['{LESSON}']", students)
    assert sorted((row["assignment"], row["student_id"]) for row in found) == [
        (LESSON, "ada"),
        (LESSON, "new\nline"),
    ]


def test_of_a_harmless_class_it_writes_what_nbgrader_does(tmp_path):
    course = make(tmp_path, "ada", "ben")
    texts = []
    for number, plugin in enumerate((CsvExportPlugin, CsvExport)):
        path = tmp_path / f"{number}.csv"
        with Gradebook(course.db_url, course.course_id) as gradebook:
            plugin(to=str(path)).export(gradebook)
        texts.append(path.read_text())
    assert texts[0] == texts[1] and texts[0].count("\n") == 3


# --- The log


def test_no_control_character_of_others_is_in_the_log(tmp_path):
    formatter = Formatter(fmt="%(color)s%(message)s%(end_color)s", color=False)
    try:
        raise ValueError("\x1b[31mmine\u202e")
    except ValueError:
        caught = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "", 1, "at %s\nand %d", ("\x9b2J\x1b]0;\x07", 3), caught)
    text = formatter.format(record)
    assert not {*text} & {*"\x1b\x07\x9b\u202e"} and "ValueError" in text
    assert text.count("\n") > 3 and "and 3" in text


def test_nbgraders_own_commands_have_that_log(course, tmp_path):
    _, printed = Course(tmp_path).run("nbgrader", "export", "--to=\x1b]0;attack\x07.csv")
    assert "attack" in printed and not {*printed} & {*"\x1b\x07"}
