"""grades.csv, as a spreadsheet would take it, and the log, as a terminal would."""

import csv
import logging
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import ROOT, Course
from gradebooks import DUE, LESSON, make, opened, put
from nbgrader.api import Gradebook
from nbgrader.apps.exportapp import ExportApp
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


# --- What Canvas and Moodle import

CANVAS_SHEET = """\
Student,ID,SIS User ID,SIS Login ID,Section,Notes,lesson (77),Other (78),Final Score
,,,,,,Manual Posting,,
    Points Possible,,,,,,28.00,10.00,(read only)
"King, Ada",101,A1,ada,One,-late,,9.50,12.00
"=cmd|' /C calc'!A0",102,A2,ben,One,,3.00,,
"Cole, Cyd",103,A3,cyd,Two,,EX,,
"Dunn, Dee",104,A4,dee,Two,,,,
"Earl, Eve",105,A5,eve,Two,,,,
"Ford, Flo",106,A6,flo,Two,,N/A,,
"Gray, Gus",107,A7,gus,Two,,,,
"Hill, Hal",108,A8,hal,Two,,5.00,,
"""
MOODLE_SHEET = """\
Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed","Last modified (submission)","Last modified (grade)","Feedback comments"
"Participant 101","Ada King",ada@b.org,"Submitted for grading - ",,28.00,Yes,"Monday, 2 March 2026, 9:00 PM",-,"- good, so far"
"Participant 102",=cmd|!A0,ben@b.org,"Submitted for grading - Graded - ",3.00,28.00,Yes,"Monday, 2 March 2026, 9:00 PM","Tuesday, 3 March 2026, 9:00 PM",
"Participant 103","Cyd Cole",cyd@b.org,"Submitted for grading - ",,28.00,No,-,-,
"Participant 107","Gus Gray",gus@b.org,"Submitted for grading - ",,28.00,Yes,-,-,
"Participant 109","Ida Ives",ida@b.org,"No submission - ",,28.00,Yes,-,-,
"""


@pytest.fixture
def term(tmp_path, monkeypatch):
    """A course in which everybody is graded by hand, too, but for dee, who waits, and eve, who was not gradable."""
    course = make(tmp_path, "ada", "ben", "cyd", "dee", "eve", "flo", "gus", "zoe", "108")
    with opened(course) as gradebook:
        for student in gradebook.students:
            student.email = f"{student.id}@b.org"
            for name, points in {"reflect_one": 3.333, "reflect_two": 8.0}.items():
                put(gradebook, student.id, name, manual_score=points, needs_manual_grade=False)
        put(gradebook, "dee", "reflect_two", manual_score=None, needs_manual_grade=True)
        put(gradebook, "gus", "reflect_two", extra_credit=9)
        for name in ("test_one", "test_two", "reflect_one", "reflect_two"):
            put(gradebook, "eve", name, auto_score=None, manual_score=None)
        gradebook.find_submission(LESSON, "ben").timestamp = DUE + timedelta(days=1)
    config = (ROOT / "nbgrader_config.py").read_text().replace('"fine-tuning"', '"course"')
    (tmp_path / "nbgrader_config.py").write_text(config + "\nc.LateSubmissionPlugin.penalty_method = 'zero'\n")
    place = tmp_path / "downloaded" / LESSON / "archive"
    place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return place


def into(place, text, *options, system="Canvas", name="Grades.csv"):
    """Export into a grade file; return (exit status, what was said in one line, the file's rows)."""
    (place / name).write_text(text)
    status, said = export(f"--exporter=autograder.grading.export.{system}Export", *options)
    found = Path(f"{system.lower()}.csv")
    return status, said, [*csv.reader(found.open(newline=""))] if found.exists() else None


def export(*options):
    """Do what `nbgrader export` does in this folder, without the seconds that starting it takes."""
    app, said, handler = ExportApp(), [], logging.Handler()
    app.initialize([*options])
    handler.emit = lambda record: said.append(record.getMessage())
    app.log.addHandler(handler)
    try:
        app.start()
    except SystemExit as end:
        return end.code, " ".join(said)
    return 0, " ".join(said)


def test_canvas_gets_what_is_final(term):
    status, said, rows = into(term, CANVAS_SHEET)
    assert status == 0, said
    before = [*csv.reader(CANVAS_SHEET.splitlines())]
    column = [row[6] for row in rows]
    assert column == ["lesson (77)", "Manual Posting", "28.00", "25.33", "0", "EX", "", "", "N/A", "34.33", "25.33"]
    assert [row[:6] + row[7:] for row in rows[:4]] == [row[:6] + row[7:] for row in before[:4]]  # Notes, too
    assert rows[4][0] == "'" + before[4][0] and rows[4][1:6] == before[4][1:6]
    for sentence in (
        "they have answers that wait for a person's grade: dee.", "they are not graded: eve.",
        "they are excused in Canvas: cyd.", "they are not assigned this in Canvas: flo.",
        "they are not in Grades.csv: zoe.",
    ):  # fmt: skip
        assert sentence in said, said
    assert (term / "Grades.csv").read_text() == CANVAS_SHEET


def test_moodle_gets_what_it_would_take(term):
    status, said, rows = into(term, MOODLE_SHEET, system="Moodle")
    assert status == 0, said
    before = [*csv.reader(MOODLE_SHEET.splitlines())]
    assert [row[4] for row in rows] == ["Grade", "25.33", "0", "", "", ""]
    assert [row[:4] + row[5:] for row in rows if "=cmd" not in row[1]] == [
        row[:4] + row[5:] for row in before if "=cmd" not in row[1]
    ]
    assert rows[2][1] == "'=cmd|!A0"
    assert "they are locked in Moodle: cyd." in said
    assert "they have more than 28.00, which Moodle takes by hand only: gus." in said
    assert "they are not in Grades.csv: 108, dee, eve, flo, zoe." in said


def test_only_those_who_were_asked_for(term):
    _, said, rows = into(term, CANVAS_SHEET, "--student=['ada']")
    assert [row[6] for row in rows if row[6]] == [
        "lesson (77)", "Manual Posting", "28.00", "25.33", "3.00", "EX", "N/A", "5.00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a,b\n1,2\n", (), "There is none in downloaded/lesson/archive/: download it from Canvas"),
        (MOODLE_SHEET, (), "There is none in downloaded/lesson/archive/: download it from Canvas"),
        (CANVAS_SHEET.replace("28.00", "100"), (), "out of 100 points, this course out of 28"),
        (CANVAS_SHEET.replace("lesson", "Week 3"), (), 'Name one column of Canvas\'s with --CanvasExport.column: "Week 3 (77)", "Other (78)"'),
        (CANVAS_SHEET, ("--CanvasExport.column=Week 9",), "Name one column"),
        (CANVAS_SHEET, ("--to=downloaded/lesson/archive/Grades.csv",), "name another file with --to"),
        (CANVAS_SHEET, ("--CanvasExport.sheet=none.csv",), "`none.csv` cannot be read"),
        (CANVAS_SHEET, ("--assignment", "other"), "Name one assignment with --assignment NAME: the gradebook has lesson"),
    ],
)  # fmt: skip
def test_a_grade_file_that_does_not_fit_is_refused(term, text, options, words):
    status, said, rows = into(term, text, *options)
    assert status == 1 and words in said and rows is None and "Traceback" not in said, said
    assert (term / "Grades.csv").read_text() == text


def test_a_column_by_its_name_and_two_rows_of_one_student(term):
    text = CANVAS_SHEET.replace("lesson", "Week 3").replace("102,A2,ben", "102,A2,ada")
    status, said, rows = into(term, text, "--CanvasExport.column=Week 3")
    assert status == 0 and "they are in several rows of Grades.csv: ada." in said
    assert [rows[3][6], rows[4][6], rows[9][6]] == ["", "3.00", "34.33"]


def test_grades_csv_says_who_is_not_final(term):
    Path("submitted", "iris", LESSON).mkdir(parents=True)
    status, said = export()
    assert status == 0 and "lesson: the points are not final, as answers wait for a person's grade: dee." in said
    assert "lesson: what was handed in is not graded, which is no zero: eve, iris." in said
