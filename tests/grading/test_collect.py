"""What Canvas, Moodle and Gradescope give for a class, collected by `nbgrader zip_collect`."""

import logging
import shutil
import warnings
import zipfile

import pytest
from conftest import ROOT
from gradebooks import opened
from nbgrader.apps.zipcollectapp import ZipCollectApp

from autograder.grading.downloads import fitting

HW = "08_tinybert_fine_tuning"
ARCHIVE = f"downloaded/{HW}/archive"
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Fine-tuning (77)
    Points Possible,,,,,28
"Doe, Jane",12345,A1,jdoe,One,
"Roe, Rick",12346,A2,rick@uni.edu,One,
"""
MOODLE = """\
Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed","Last modified (submission)","Last modified (grade)","Feedback comments"
"Participant 501","Jane Doe",jane@uni.edu,"Submitted for grading - ",,28.00,Yes,"Monday, 2 March 2026, 9:00 PM",-,
"""
METADATA = """\
---
submission_987:
  :submitters:
  - :name: Jane Doe
    :sid: '31'
    :email: Jane@Uni.edu
  :created_at: 2026-03-02 21:59:30.250000000 -08:00
  :score: 0.0
  :history: []
submission_988:
  :submitters:
  - :name: Rick Roe
    :sid: '32'
    :email: rick@uni.edu
  - :name: Mo Moe
    :sid: ''
    :email:
  :created_at: 2026-03-01 10:00:00.000000000 Z
"""


class Class:
    """A course with a download, to be collected."""

    def __init__(self, folder):
        self.folder, self.said = folder, []
        shutil.copy(ROOT / "nbgrader_config.py", folder)
        (folder / "notebooks" / HW).mkdir(parents=True)
        (folder / "notebooks" / HW / f"{HW}.ipynb").write_text("{}")
        (folder / ARCHIVE).mkdir(parents=True)

    def put(self, name, text):
        (self.folder / ARCHIVE / name).write_text(text)

    def zip(self, files, name="submissions.zip"):
        with zipfile.ZipFile(self.folder / ARCHIVE / name, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there twice
            for path, content in files if isinstance(files, list) else files.items():
                archive.writestr(zipfile.ZipInfo(path), content)

    def collect(self, *options):
        """Collect; return {path in submitted/: text}, and keep what was said."""
        app = ZipCollectApp()
        app.initialize([HW, *options])
        handler = logging.Handler()
        handler.emit = lambda record: self.said.append(record.getMessage())
        self.app = app
        app.log.addHandler(handler)
        app.start()
        place = self.folder / "submitted"
        return {
            path.relative_to(place).as_posix().replace(f"/{HW}/", "/").replace(f"{HW}.ipynb", "hw"): path.read_text()
            for path in sorted(place.rglob("*")) if path.is_file()
        }  # fmt: skip

    def heard(self, *words):
        return any(all(word in sentence for word in words) for sentence in self.said)


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Class(tmp_path)


def test_canvas(course):
    course.zip({
        f"doejane_12345_9001_{HW}-2.ipynb": "jane",
        f"roerick_LATE_12346_9002_{HW}.ipynb": "rick",
        "roerick_LATE_12346_9003_notes.pdf": "notes",
        "moemo_12347_text.html": "<p>I could not",
        f"LATE_anon_Ab3dE_9004_{HW}.ipynb": "somebody",
    })  # fmt: skip
    found = course.collect()
    assert found == {"12345/hw": "jane", "12346/hw": "rick", "12346/notes.pdf": "notes", "anon_Ab3dE/hw": "somebody"}
    assert course.heard("marks as late", "12346", "anon_Ab3dE", "timestamp.txt")
    assert course.heard("12347 handed in a text or an address, and no file")
    assert not course.heard("may be somebody else's")


@pytest.mark.parametrize("folders", [True, False])
@pytest.mark.parametrize("unpacked", [True, False])
def test_moodle(course, folders, unpacked):
    between = "_/" if folders else "_"
    files = {
        f"Jane Doe_501_assignsubmission_file{between}{HW}.ipynb": "jane",
        f"Participant_502_assignsubmission_file{between}mine.ipynb": "502",
        f"Mo Moe_503_assignsubmission_onlinetext{between}onlinetext.html": "<p>",
        f"Jane Doe_501_assignsubmission_onlinetext{between}onlinetext.html": "<p>",
    }
    if folders:
        files["Jane Doe_501_assignsubmission_file/data/extra.csv"] = "1,2"
        files["Jane Doe_501_assignsubmission_file/.ipynb_checkpoints/old.ipynb"] = "old"
    course.zip(files, "CS101-Fine-tuning-77.zip")
    if unpacked:
        with zipfile.ZipFile(course.folder / ARCHIVE / "CS101-Fine-tuning-77.zip") as archive:
            archive.extractall(course.folder / ARCHIVE / "CS101-Fine-tuning-77")
        (course.folder / ARCHIVE / "CS101-Fine-tuning-77.zip").unlink()
    expected = {"501/hw": "jane", "502/mine.ipynb": "502"}
    assert course.collect() == expected | ({"501/data/extra.csv": "1,2"} if folders else {})
    assert course.heard("Mo Moe (503) handed in a text") and not course.heard("Jane Doe (501) handed in a text")


def test_gradescope(course):
    course.zip({
        "assignment_7_export/submission_metadata.yml": METADATA,
        f"assignment_7_export/submission_987/{HW}.ipynb": "jane",
        "assignment_7_export/submission_987/TIMESTAMP.txt": "2020-01-01",
        f"assignment_7_export/submission_988/{HW}.ipynb": "pair",
        f"assignment_7_export/submission_989/{HW}.ipynb": "of nobody",
    })  # fmt: skip
    assert course.collect() == {
        "jane@uni.edu/hw": "jane", "jane@uni.edu/timestamp.txt": "2026-03-03 05:59:30.250000 UTC",
        "jane@uni.edu/handed-in-timestamp.txt": "2020-01-01",
        "rick@uni.edu/hw": "pair", "rick@uni.edu/timestamp.txt": "2026-03-01 10:00:00.000000 UTC",
        "submission_988/hw": "pair", "submission_988/timestamp.txt": "2026-03-01 10:00:00.000000 UTC",
    }  # fmt: skip
    assert course.heard("submission_989", "named like no submission")
    with opened(course.app.coursedir) as gradebook:
        jane = gradebook.find_student("jane@uni.edu")
        assert (jane.first_name, jane.last_name, jane.email) == ("Jane", "Doe", "jane@uni.edu")


# --- Who is who


@pytest.mark.parametrize(
    ("sheet", "file", "student"),
    [
        (CANVAS, f"doejane_12345_9001_{HW}.ipynb", "jdoe"),
        (CANVAS, f"roerick_12346_9001_{HW}.ipynb", "rick@uni.edu"),
        (CANVAS, f"away_12399_9001_{HW}.ipynb", "12399"),
        (MOODLE, f"Jane Doe_501_assignsubmission_file_/{HW}.ipynb", "jane@uni.edu"),
        (MOODLE, f"Mo Moe_503_assignsubmission_file_/{HW}.ipynb", "503"),
        (MOODLE, f"doejane_501_9001_{HW}.ipynb", "501"),  # the grade file is another system's
        (CANVAS.replace(",", ";"), f"roerick_12346_9001_{HW}.ipynb", "rick@uni.edu"),
        ("\ufeff" + CANVAS, f"roerick_12346_9001_{HW}.ipynb", "rick@uni.edu"),
        (CANVAS.replace("rick@uni.edu", "../../rick"), f"roerick_12346_9001_{HW}.ipynb", "A2"),
        (CANVAS.replace("rick@uni.edu", "jDoe"), f"roerick_12346_9001_{HW}.ipynb", "12346"),
    ],
)
def test_with_the_grade_file_students_have_the_ids_that_people_know(course, sheet, file, student):
    course.put("Grades.csv", sheet)
    files = {file: "x"} | ({f"doejane_12345_9000_{HW}.ipynb": "jane"} if "jDoe" in sheet else {})
    course.zip(files)
    assert course.collect().get(f"{student}/hw") == "x"
    assert course.heard("would be the id of several students") == ("jDoe" in sheet)
    assert course.heard("this download is not") == (sheet is MOODLE and "doejane" in file)


def test_a_student_whom_the_gradebook_knows_keeps_the_id(course):
    course.put("Grades.csv", MOODLE)
    course.zip({f"Jane Doe_501_assignsubmission_file_/{HW}.ipynb": "x"})
    app = ZipCollectApp()
    app.initialize([HW])
    with opened(app.coursedir) as gradebook:
        gradebook.add_student("ada", email="Jane@uni.edu")
    assert course.collect() == {"ada/hw": "x"}


# --- Newest first


def test_the_newest_in_canvas(course):
    old, new = f"doejane_12345_9001_{HW}.ipynb", f"doejane_12345_9002_{HW}-1.ipynb"
    course.zip({new: "new"}, "submissions (1).zip")
    course.zip({old: "old"}, "submissions (2).zip")
    assert course.collect() == {"12345/hw": "new"}
    assert course.heard("12345 handed in", "more than once: the newest was taken")
    with pytest.raises(SystemExit):  # nbgrader asks first
        course.collect()
    course.zip({f"doejane_12345_9100_{HW}-3.ipynb": "newer"}, "submissions (3).zip")
    assert course.collect("--force") == {"12345/hw": "newer"}


def test_moodle_does_not_say_which_is_newer(course):
    path = f"Jane Doe_501_assignsubmission_file_/{HW}.ipynb"
    for number, texts in enumerate((("same", "one"), ("same", "two"))):
        course.zip({path: texts[0], path.replace("501", "502"): texts[1]}, f"{number}.zip")
    assert course.collect() == {"501/hw": "same"}
    assert course.heard("Jane Doe (502) has two different files", "leave one download")


def test_the_newest_attempt_in_gradescope_as_a_whole(course):
    later = METADATA.replace("Rick Roe", "Jane Doe").replace("rick@uni.edu", "jane@uni.edu")
    course.zip({
        "submission_metadata.yml": later,
        f"submission_987/{HW}.ipynb": "new", f"submission_988/{HW}.ipynb": "old", "submission_988/old.py": "old",
    })  # fmt: skip
    found = course.collect()
    assert found["jane@uni.edu/hw"] == "new" and "jane@uni.edu/old.py" not in found
    assert found["submission_988/old.py"] == "old"  # her partner's
    assert course.heard("Jane Doe (jane@uni.edu) handed in more than once")


# --- Names that do harm


def test_no_path_leads_out(course):
    out = {
        f"../../../{HW}.ipynb", f"/doejane_1_2_{HW}.ipynb", f"..\\..\\doejane_1_3_{HW}.ipynb",
        f"Jane Doe_501_assignsubmission_file_/../../../{HW}.ipynb", f"C:\\doejane_1_4_{HW}.ipynb",
    }  # fmt: skip
    course.zip({**dict.fromkeys(out, "evil"), f"doejane_12345_9001_{HW}.ipynb": "jane"})
    before = {path for path in course.folder.parent.rglob("*") if course.folder not in path.parents}
    assert course.collect() == {"12345/hw": "jane"}
    assert sum("leads out of the download" in sentence for sentence in course.said) == len(out)
    assert {path for path in course.folder.parent.rglob("*") if course.folder not in path.parents} == before


@pytest.mark.parametrize(
    ("files", "student"),
    [
        ({f"Eve_666_assignsubmission_file_/Jane Doe_501_assignsubmission_file_/{HW}.ipynb": "x"}, "666"),
        ({f"Default group_assignsubmission_file_/Jane Doe_501_assignsubmission_file_/{HW}.ipynb": "x"}, None),
        ({f"Default group_assignsubmission_file_/doejane_501_9001_{HW}.ipynb": "x"}, None),
        ({
            "Eve_666_assignsubmission_file_/submission_metadata.yml": "a: [",
            f"Eve_666_assignsubmission_file_/submission_987/{HW}.ipynb": "x",
        }, "666"),
        ({
            "a/submission_metadata.yml": METADATA,
            "a/submission_987/submission_metadata.yml": "a: [",
            f"a/submission_987/submission_987/{HW}.ipynb": "x",
        }, "jane@uni.edu"),
        ({
            "a/submission_metadata.yml": METADATA, f"a/submission_987/submission_987/{HW}.ipynb": "x",
            "a/submission_987/submission_metadata.yml": METADATA.replace("Jane@", "mo@"),
        }, "jane@uni.edu"),
        ({"a/submission_metadata.yml": METADATA, f"a/submission_987/doejane_501_9001_{HW}.ipynb": "x"}, "jane@uni.edu"),
        ({"a/submission_metadata.yml": METADATA, f"a/submission_5/doejane_501_9001_{HW}.ipynb": "x"}, None),
        ({f"eve_LATE_666_9001_501_9002_{HW}.ipynb": "x"}, "666"),
        ({f"eve_LATE_666_9001_{HW}.ipynb": "x"}, "666"),
    ],
)  # fmt: skip
def test_nobody_hands_in_for_somebody_else(course, files, student):
    course.zip(files)
    course.zip({f"moemo_12347_9003_{HW}.ipynb": "mo"}, "more.zip")
    found = course.collect()
    assert {path.split("/")[0] for path, text in found.items() if text == "x"} == ({student} - {None})
    assert len({path.split("/")[0] for path in found}) == 2 - (student is None)


@pytest.mark.parametrize("own", [HW, "mine"])
def test_a_name_with_numbers_in_canvas_is_read_by_the_grade_file(course, own):
    course.put("Grades.csv", CANVAS.replace("Roe, Rick", "Roe, Rick_12345"))
    course.zip({
        f"roerick_12345_12346_9001_{own}.ipynb": "rick", f"doejane_LATE_12345_9002_2024_08_{own}.ipynb": "jane",
        f"doejane_12345_9003_12346_9004_{own}.ipynb": "jane, again",
    })  # fmt: skip
    found = course.collect()
    assert {text: path.split("/")[0] for path, text in found.items()} == {
        "rick": "rick@uni.edu", "jane": "jdoe", "jane, again": "jdoe",
    }  # fmt: skip
    assert not course.heard("may be somebody else's")


def test_without_a_grade_file_such_a_name_is_named(course):
    course.zip({f"roerick_12345_12346_9001_{HW}.ipynb": "rick", f"doejane_12345_9002_{HW}.ipynb": "jane"})
    assert len(course.collect()) == 2
    assert course.heard("`roerick_12345_12346_9001_", "may be somebody else's: put Canvas's grade file beside the zip")
    assert not course.heard("`doejane_12345_9002")


def test_long_and_strange_names_are_kept_in_a_shape_that_can_be_written(course):
    course.zip({
        f"doejane_12345_9001_{'ä' * 240}.ipynb": "long", "doejane_12345_9002_line\nbreak[1]\x1b.ipynb": "strange",
        f"Jane Doe_501_assignsubmission_file_/{'deep/' * 50}{HW}.ipynb": "deep",
    })  # fmt: skip
    found = course.collect()
    assert sorted(found.values()) == ["deep", "long", "strange"]
    assert "12345/line_break[1]\ufffd.ipynb" in found
    assert fitting(["x" * 999 + ".ipynb"]) == "x" * 194 + ".ipynb"


def test_a_file_that_is_too_large_or_damaged_is_named(course):
    (course.folder / "nbgrader_config.py").open("a").write("c.CourseDirectory.max_file_size = 1\n")
    course.zip({f"doejane_12345_9001_{HW}.ipynb": "x" * 1001, f"roerick_12346_9002_{HW}.ipynb": "broken"})
    path = course.folder / ARCHIVE / "submissions.zip"
    path.write_bytes(path.read_bytes().replace(b"broken", b"BROKEN", 1))
    course.zip({f"moemo_12347_9003_{HW}.ipynb": "mo"}, "more.zip")
    assert course.collect() == {"12347/hw": "mo"}
    assert course.heard("12345 was left out: it is larger than 0.001 MB")
    assert course.heard("12346 was left out: Bad CRC-32")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("submissions.zip", b"PK\x03\x04half", "is no zip, or is damaged"),
        ("submissions.tar.gz", b"", "unpack it"),
        ("hw.ipynb", b"{}", "named like a submission in Canvas, Moodle or Gradescope"),
    ],
)
def test_a_download_that_is_none_is_refused(course, name, content, words):
    (course.folder / ARCHIVE / name).write_bytes(content)
    with pytest.raises(SystemExit):
        course.collect()
    assert course.heard(words) and not (course.folder / "submitted").exists()


def test_what_was_not_released_cannot_be_collected(course):
    shutil.rmtree(course.folder / "notebooks")
    course.zip({f"doejane_12345_9001_{HW}.ipynb": "jane"})
    with pytest.raises(SystemExit):
        course.collect()
    assert course.heard(f"run `nbgrader generate_assignment {HW}` first") and not (course.folder / "submitted").exists()


@pytest.mark.parametrize("text", ["a: [", "- 1", "submission_987: {}", "!!python/object:os.system x", "\x00"])
def test_metadata_that_cannot_be_read_is_refused(course, text):
    course.zip({"a/submission_metadata.yml": text, f"a/submission_987/{HW}.ipynb": "x"})
    with pytest.raises(SystemExit):
        course.collect()
    assert course.heard("submission_metadata.yml` cannot be read", "export from Gradescope again")
