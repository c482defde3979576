"""Reflections: the page on which graders grade them, and the way of what they give into the gradebook."""

import json
import re
import time

import nbformat
import pytest
from conftest import ASSIGNMENT, CHROMIUM, RELEASE, SOLUTION
from nbgrader.api import Gradebook
from reflecting import (
    COURSE,
    answer,
    drawing,
    entry,
    grade,
    handed_in,
    in_gradebook,
    lay,
    make,
    questions,
    save,
    shortened,
)

from autograder.grading import by_hand, reflections
from autograder.grading.export import CsvExport
from autograder.grading.numbers import parts, values

SMOOTH, LABELS, LOWER = "reflect_smooth", "reflect_labels", "reflect_lower"
HOSTILE = (
    "<script>window.hacked = 1</script></script><!-- <img src=x onerror='window.hacked = 1'> $\\require{x}$ =1+1 "
    "**not bold** 0.6090 and 77.77"
)


@pytest.fixture(scope="module")
def lesson():
    """(the released notebook, the source notebook) with the reflections, one of them without a rubric."""
    release, solution = (shortened(nbformat.read(path, as_version=4)) for path in (RELEASE, SOLUTION))
    (lower,) = (cell for cell in solution.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == LOWER)
    lower.source = lower.source.split("**Rubric.**")[0]
    return release, solution


# --- Numbers


@pytest.mark.parametrize(
    "text, shown, found",
    [
        ("It fell to 0.69.", "loss 0.6923", [True]),
        ("It fell to 0.70.", "loss 0.6923", [False]),
        ("It fell to 0,69.", "loss 0.6923", [True]),
        ("0.6923 it was", "loss 0.69", [False]),
        ("62 % and 63 percent", "accuracy 0.62", [True, False]),
        ("0.94", "layer 2 94%", [True]),
        ("at 2.5e-3 and 2.5 × 10^-3, 2.5·10⁻³", "lr 0.0025", [True, True, True]),
        ("3e-4", "2e-4", [False]),
        ("1,000 reviews", "1000 rows", [True]),
        ("TinyBERT4 in v1.2.3", "0", []),
        ("9e999 " + "1" * 500, "1", []),
    ],
)
def test_numbers_are_found_as_people_write_them(text, shown, found):
    said = parts(text, sorted(values(shown)))
    assert "".join(part for part, _ in said) == text
    assert [is_found for _, is_found in said if is_found is not None] == found


# --- The page


@pytest.fixture(scope="module")
def large(tmp_path_factory, lesson):
    """A course with 200 students, two of whom handed in nothing, and its page."""
    release, solution = lesson
    asked = questions(release)
    students = {f"ada-{k:03}": {q: answer(k, q) for q in asked} for k in range(198)}
    students["ada-001"] = {q: students["ada-000"][q].replace("epochs", "rounds") for q in asked}
    students["ada-002"] = {}
    students["ada-003"] = dict.fromkeys(asked, " \n")
    students["ada-004"] = dict.fromkeys(asked, HOSTILE)
    course = make(tmp_path_factory.mktemp("large"), students, release, solution)
    with Gradebook(f"sqlite:///{course.folder}/gradebook.db", COURSE) as gradebook:
        gradebook.add_student("absent", first_name="</script><script>window.hacked = 1</script>")
        gradebook.db.commit()
    lay(course.folder, "submitted", "waiting", handed_in("waiting", {}, release, solution))
    status, printed = course.run("autograder", "reflections")
    assert status == 0 and "1386 answers to 7 questions" in printed, printed
    course.page = course.folder / "reflections.html"
    return course


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Grader:
    """Someone with a browser of their own, and a keyboard."""

    def __init__(self, browser, course):
        self.context = browser.new_context(viewport={"width": 1400, "height": 900})
        self.course, self.wrong = course, []
        self.open()

    def open(self):
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        begun = time.monotonic()
        self.page.goto(self.course.page.as_uri())
        self.page.wait_for_selector("article")
        return time.monotonic() - begun

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, where="main"):
        return self.page.locator(where).first.text_content()  # also of what is not near the window

    def save(self, path):
        with self.page.expect_download() as download:
            self.press("s")
        download.value.save_as(path)
        return json.loads(path.read_text())["scores"]


@pytest.fixture
def grader(browser, large):
    made = Grader(browser, large)
    yield made
    assert made.wrong == [] and not made.page.evaluate("window.hacked")
    made.context.close()


def listed(page, cell=SMOOTH):
    """The students in the order in which a question has their answers."""
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    (question,) = (each for each in data["questions"] if each["cell"] == cell)
    return [data["students"][each["student"]]["id"] for each in question["answers"]]


def test_what_was_handed_out_is_nobodys_copy():
    text = "Describe here, in two to five sentences, what you have seen."
    written, untouched = ([made(text, is_empty), made(text, is_empty)] for is_empty in (False, True))
    reflections.compare(written)
    reflections.compare(untouched)
    assert [one.alike for one in written] == [[(1, 100)], [(0, 100)]] and [one.alike for one in untouched] == [[], []]


def made(text, is_empty):
    return reflections.Answer(0, parts(text, []), "", is_empty, [], None, None, True, "")


def test_the_order_is_each_questions_own(large):
    orders = [listed(large.page, cell) for cell in (SMOOTH, LABELS)]
    assert sorted(orders[0]) == sorted(orders[1]) and len({*map(tuple, [*orders, sorted(orders[0])])}) == 3


def test_the_order_stays_as_long_as_the_secret_does(course, monkeypatch):
    monkeypatch.chdir(course.folder)
    pages = []
    for secret in ("one", "one", *"abcdefgh"):
        (course.folder / ".secret").write_text(secret)
        reflections.write(course.directory, ASSIGNMENT)
        pages.append((course.folder / "reflections.html").read_text())
    assert pages[0] == pages[1] and len({*pages}) > 2


def test_two_hundred_students_are_graded_without_the_mouse(grader, tmp_path, monkeypatch):
    assert min(grader.open() for _ in range(2)) < 10  # under 1 s on an idle machine
    assert "2 of 198 done (2 empty), 196 left" in grader.text("#count")  # those that nobody touched have their 0
    assert "1 point: describes the curve" in grader.text("section:not([hidden])")
    shown = grader.page.locator("body").inner_text()
    assert "ada-" not in shown.lower() and "absent" not in shown
    grader.press("2", "c")
    grader.page.keyboard.type("Which epoch?")
    grader.press("Control+Enter", "1", ".", "v", "W", "Tab", "Escape")  # the comment used before, by its first letter
    for _ in range(194):
        grader.press("u", "1")
    assert "198 of 198 done (2 empty), 0 left" in grader.text("#count")
    grader.press("u")
    assert "Nothing is left" in grader.text("#says")
    grader.open()  # another day
    assert "198 of 198 done" in grader.text("#count")
    scores = grader.save(tmp_path / "SCORES.json")
    points = [score["points"] for score in scores if "points" in score]
    assert len(points) == 196 and points.count(1.5) == 1 and points.count(2) == 1
    assert [score["comment"] for score in scores if "comment" in score] == ["Which epoch?"] * 2
    grader.press("q")
    assert "12.2" in grader.text("section:not([hidden])") and "196 left" in grader.text("#count")
    grader.press("Q", "h")
    assert listed(grader.course.page)[0] in grader.text("article")

    result = enter(grader.course, tmp_path / "SCORES.json")
    assert (result.points, result.comments, result.left_out) == (196, 2, [])
    student = next(score["student"] for score in scores if score.get("points") == 2)
    assert in_gradebook(grader.course.folder, student, SMOOTH) == (2, False, "Which epoch?")
    status, printed = grader.course.run("nbgrader", "generate_feedback", ASSIGNMENT, "--student", student)
    feedback = grader.course.folder / "feedback" / student / ASSIGNMENT / f"{ASSIGNMENT}.html"
    assert status == 0 and "Which epoch?" in feedback.read_text(), printed
    with Gradebook(f"sqlite:///{grader.course.folder}/gradebook.db", COURSE) as gradebook:
        CsvExport(to=str(tmp_path / "grades.csv")).export(gradebook)
    assert re.search(rf",{student},.*,2\.0,14\.0$", (tmp_path / "grades.csv").read_text(), re.MULTILINE)
    assert grader.course.rows()[student].manual[SMOOTH] == 2

    monkeypatch.chdir(grader.course.folder)
    reflections.write(grader.course.directory, ASSIGNMENT)  # a new page, which knows all that
    grader.open()
    assert "198 of 198 done" in grader.text("#count")
    grader.press("0")
    (changed,) = grader.save(tmp_path / "SCORES.json")
    assert changed["points"] == 0 and changed["known"] == {"points": 2, "comment": "Which epoch?"}


def test_two_graders_work_comes_together_in_the_page(grader, large, tmp_path):
    first, second, third, cell = "ada-010", "ada-020", "ada-030", "reflect_standard_rate"
    theirs = save(
        tmp_path / "maria.json",
        entry(large.folder, first, cell, points=1, comment="good"), entry(large.folder, second, cell, points=0),
        entry(large.folder, third, cell, points=9), {**entry(large.folder, third, SMOOTH, points=1), "answer": "another"},
    )  # fmt: skip
    grader.press("q", "a", "h")
    position = {name: number for number, name in enumerate(listed(large.page, cell))}
    grader.page.locator(f"#a-{position[second]}").focus()
    grader.press("2")
    grader.page.set_input_files("#load", theirs)
    grader.page.locator("#says", has_text="maria.json").wait_for()
    said = grader.text("#says")
    assert "1 answer taken" in said and second in said and "2 left out" in said
    assert "Done: 1 of 2" in grader.text(f"#a-{position[first]}") and "Done: 2 of 2" in grader.text(f"#a-{position[second]}")
    grader.page.locator(f"#a-{position[second]} button", has_text="Take it").press("Enter")
    assert "Done: 0 of 2" in grader.text(f"#a-{position[second]}")
    saved = {score["student"]: score for score in grader.save(tmp_path / "both.json")}
    assert saved.keys() == {first, second} and saved[first]["comment"] == "good" and saved[second]["points"] == 0
    grader.page.set_input_files("#load", save(tmp_path / "other.json", assignment="09"))
    grader.page.locator("#says", has_text="is of 09 in the course").wait_for()


def test_what_students_wrote_stays_text_and_what_they_saw_is_beside_it(grader, large):
    number = {name: k for k, name in enumerate(listed(large.page))}
    grader.press("a", "h")
    hostile = grader.page.locator(f"#a-{number['ada-004']}")
    hostile.scroll_into_view_if_needed()
    assert HOSTILE in hostile.locator(".answer").text_content()
    rubric = grader.page.locator("section:not([hidden])").bounding_box()
    assert 0 < rubric["y"] < 900 - rubric["height"]  # beside whatever answer is looked at
    assert "0.6090" in hostile.locator("mark.found").all_inner_texts()
    assert hostile.locator("mark.not").all_inner_texts() == ["77.77"]
    hostile.locator("figure img").first.wait_for()
    assert "0.61" in hostile.locator("figure img").first.get_attribute("alt")
    assert "Epoch 10, Loss: 0.6090" in hostile.locator(".saw").inner_text()
    twin = grader.page.locator(f"#a-{number['ada-001']}")
    assert "Nearly the same as answer" in twin.text_content() and "ada-000" in twin.text_content()
    for student in ("ada-002", "ada-003"):
        empty = grader.text(f"#a-{number[student]}")
        assert "Empty: nobody touched the cell" in empty and "Nearly" not in empty
    grader.page.locator("#others summary").click()
    assert "Nothing was submitted" in grader.text("footer") and "not graded yet" in grader.text("footer")
    assert "<script>window.hacked" in grader.text("footer")
    grader.page.locator("#question").select_option(index=6)
    assert "Rubric" not in grader.text("section:not([hidden])") and "Smoother still" in grader.text("section:not([hidden])")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_everybody_can_read_it(browser, large, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install axe-playwright-python")
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True).new_page()
    page.goto(large.page.as_uri())
    page.wait_for_selector("article")
    for keys in ("?", "h"):
        page.keyboard.press(keys)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# --- Into the gradebook


@pytest.fixture
def course(tmp_path, lesson):
    """A small course."""
    students = {name: {q: answer(name, q) for q in questions(lesson[0])} for name in ("ada", "ben", "eve")}
    return make(tmp_path, students, *lesson)


def enter(course, *files, overwrite=False):
    """What `autograder reflections FILES` writes and says, in this process."""
    return by_hand.enter(course.directory, "", files, overwrite)


def test_feedback_tells_what_nobody_has_read_from_no_points(course):
    """An answer graded, one that was and has changed since, one that is empty; all others wait."""
    folder, adamw = course.folder, "reflect_adamw"
    with Gradebook(f"sqlite:///{folder}/gradebook.db", COURSE) as gradebook:
        for cell, values in {
            SMOOTH: {"manual_score": 1.5, "needs_manual_grade": False}, adamw: {"manual_score": 1},
            LABELS: {"auto_score": 0, "needs_manual_grade": False},
        }.items():  # fmt: skip
            grade = gradebook.find_grade(cell, ASSIGNMENT, ASSIGNMENT, "ada")
            for name, value in values.items():
                setattr(grade, name, value)
        gradebook.find_comment(LABELS, ASSIGNMENT, ASSIGNMENT, "ada").auto_comment = "No response."
        gradebook.db.commit()
    status, printed = course.run("nbgrader", "generate_feedback", ASSIGNMENT, "--student", "ada")
    assert status == 0, printed
    page = (folder / "feedback" / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.html").read_text()
    assert "2.5 of 14 points so far; 5 answers wait for a person</h1>" in page
    rows = {name: " ".join(re.sub("<[^>]*>", " ", row).split())
            for name, row in re.findall(r'<tr><td><a href="#(\w+)">(.*?)</tr>', page, re.DOTALL)}  # fmt: skip
    shown = {SMOOTH: "1.5 of 2", adamw: "1 of 2 so far", LABELS: "(no answer) 0 of 2"}
    assert len(rows) == 7
    assert [name for name, row in rows.items() if not row.endswith(shown.get(name, "not graded yet, of 2"))] == []
    headings = re.findall(r'<a name="(reflect_\w+)">.*?class="pull-right">(.*?)<a', page, re.DOTALL)
    heads = {name: " ".join(said.split()) for name, said in headings}
    assert heads[LOWER] == "not graded yet, of 2" and heads[adamw] == "1 of 2 so far"
    assert (heads[SMOOTH], heads[LABELS]) == ("Score: 1.5 / 2.0", "Score: 0.0 / 2.0")


def test_two_files_are_merged_and_where_they_disagree_nothing_is_written(course):
    folder = course.folder
    one = save(
        folder / "one.json", entry(folder, "ada", SMOOTH, points=1), entry(folder, "ben", SMOOTH, points=1.5),
        entry(folder, "eve", SMOOTH, points=2, comment="yes"),
    )  # fmt: skip
    two = save(
        folder / "two.json", entry(folder, "ada", SMOOTH, points=2, comment="no"), entry(folder, "ben", SMOOTH, comment="so"),
        entry(folder, "eve", SMOOTH, points=2, comment="yes"), entry(folder, "eve", LABELS, points=0),
    )  # fmt: skip
    result = enter(course, one, two)
    (said,) = result.left_out
    assert "`reflect_smooth` of ada was given different points (one.json: 1, two.json: 2)" in said
    assert in_gradebook(folder, "ada", SMOOTH) == (None, True, None)
    assert in_gradebook(folder, "ben", SMOOTH) == (1.5, False, "so")
    assert in_gradebook(folder, "eve", SMOOTH) == (2, False, "yes") and in_gradebook(folder, "eve", LABELS)[0] == 0
    assert (result.points, result.comments) == (3, 2)
    again = enter(course, two)
    assert (again.points, again.comments, again.left_out) == (1, 1, [])  # ada's; the rest is there


def test_what_was_entered_elsewhere_is_kept_until_overwritten(course):
    folder = course.folder
    with Gradebook(f"sqlite:///{folder}/gradebook.db", COURSE) as gradebook:
        for name, points, comment in (("ada", 0.5, "Formgrader's"), ("ben", 1, None)):
            names = SMOOTH, ASSIGNMENT, ASSIGNMENT, name
            gradebook.find_grade(*names).manual_score = points
            gradebook.find_comment(*names).manual_comment = comment
        gradebook.db.commit()
    file = save(
        folder / "late.json", entry(folder, "ada", SMOOTH, points=2, comment="mine"),
        entry(folder, "ben", SMOOTH, known=(1, ""), points=2),
    )  # fmt: skip
    said = enter(course, file).left_out
    assert len(said) == 2 and "0.5 points elsewhere" in said[0] and "“Formgrader's” elsewhere" in said[1]
    assert in_gradebook(folder, "ada", SMOOTH)[::2] == (0.5, "Formgrader's")
    assert in_gradebook(folder, "ben", SMOOTH)[:2] == (2, False)  # what the grader saw and changed
    assert enter(course, file, overwrite=True).left_out == []
    assert in_gradebook(folder, "ada", SMOOTH) == (2, False, "mine")


def test_an_answer_that_has_changed_is_left_out(course, lesson):
    folder = course.folder
    file = save(folder / "old.json", entry(folder, "ada", SMOOTH, points=2), entry(folder, "ben", SMOOTH, points=2))
    notebook = handed_in("ada", {SMOOTH: "Another answer."}, *lesson)
    with Gradebook(f"sqlite:///{folder}/gradebook.db", COURSE) as gradebook:
        grade(folder, gradebook, "ada", notebook, lesson[0])
        gradebook.db.commit()
    (said,) = enter(course, file).left_out
    assert said.startswith("old.json: `reflect_smooth` of ada has changed since")
    assert in_gradebook(folder, "ada", SMOOTH)[0] is None and in_gradebook(folder, "ben", SMOOTH)[0] == 2


def test_whatever_is_wrong_gets_a_sentence_and_the_rest_is_written(course):
    folder = course.folder
    right = entry(folder, "ada", SMOOTH, points=2)
    (folder / "cut.json").write_text('{"format": ')
    (folder / "list.json").write_text("[" * 100_000)
    raw = [
        right, {**right, "cell": LABELS, "points": 3, "answer": entry(folder, "ada", LABELS)["answer"]}, {**right, "student": "\x1b[2Jzoe"},
        {**right, "cell": "none"}, {**right, "points": "2"}, {**right, "points": -1}, 7,
    ]  # fmt: skip
    files = [
        save(folder / "mixed.json", *raw), save(folder / "course.json", course="another"), save(folder / "09.json", assignment="09"),
        folder / "cut.json", folder / "list.json", folder / "none.json",
    ]  # fmt: skip
    status, printed = course.run("autograder", "reflections", *map(str, files))
    assert status == 1 and "points of 1 answer and 0 comments" in printed and "Traceback" not in printed
    said = [line for line in printed.splitlines() if ".json" in line]
    expected = (
        "entry 5 was left out, because of `points`", "entry 6 was left out, because of `points`", "entry 7 was left out",
        "course.json is of the course `another`", "09.json is of the assignment `09`", "cut.json is no file of scores",
        "list.json is no file of scores", "none.json cannot be read: No such file", "was given 3 points of 2", "no answer of `", "no answer `none`",
    )  # fmt: skip
    assert len(said) == len(expected) and "\x1b" not in printed, printed
    assert all(any(sentence in line for line in said) for sentence in expected), printed
    assert in_gradebook(folder, "ada", SMOOTH)[0] == 2


def test_a_submission_that_is_not_graded_is_no_reason_to_stop(course, lesson, monkeypatch):
    folder = course.folder
    monkeypatch.chdir(folder)
    (folder / "submitted" / "ben" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").write_bytes(b"%PDF")
    lay(folder, "submitted", "ada", handed_in("ada", {SMOOTH: "A newer answer."}, *lesson, draw=lambda *_: drawing("x", "y")))
    assert reflections.write(course.directory, ASSIGNMENT) == (7, 21, 21, 0)
    page = (folder / "reflections.html").read_text()
    assert "What lies in the folder is not what was graded" in page and "is from the graded notebook" in page
    assert page.count('id="p-') == 1 + 1 + 2  # ada's figures are one and the same; of ben's, one is not run again
