"""Whole classes through real `nbgrader` commands, run from the root as its documentation says."""

import csv
import io
import os
import shutil

import pytest
from conftest import ASSIGNMENT, CHROMIUM, RELEASE, ROOT, Course, contents
from jupyterlabs import TOKEN, jupyterlab
from nbgrader.api import Gradebook
from PIL import Image
from reflecting import in_gradebook

FULL = [3, 2, 6, 3]

# Points for parameter groups, learning rate, training loop, loss history; words of the sentence.
SAMPLE = {
    "the-solution": (FULL, None),
    "right-first-time": (FULL, None),
    "right-with-decay-groups": (FULL, None),
    "everything-in-optimizer": ([1, 2, 6, 3], "frozen parameters are in the optimizer"),
    "default-learning-rate": ([3, 0, 6, 3], "learning rate is 0.001"),
    "forgot-zero-grad": ([3, 2, 4, 3], "gradients of earlier batches"),
    "forgot-attention-mask": ([3, 2, 4, 3], "No attention mask"),
    "sum-not-mean": ([3, 2, 6, 1], "never divided"),
    "endless-loop": ([3, 2, 0, 0], "loop that never ends"),
    "syntax-error": ([3, 2, 0, 0], "SyntaxError"),
    "untouched": ([0, 0, 0, 0], "TODO #1 is untouched"),
}

BAD = {
    "not-a-notebook": ([0, 0, 0, 0], "holds no JSON"),
    "binary": ([0, 0, 0, 0], "is a PDF"),
    "json-but-no-notebook": ([0, 0, 0, 0], "no cells"),
    "truncated": ([0, 0, 0, 0], "breaks off"),
    "empty-folder": ([0, 0, 0, 0], "folder is empty"),
    "wrong-name": ([0, 0, 0, 0], "`autograder grade` does that"),
    "no-loop-cell": ([3, 2, 0, 0], "`todo2_train_tinybert` was not found"),
    "test-deleted": (FULL, "`test_training_loop` was not found"),
    "test-duplicated": (FULL, "`test_training_loop` is there 2 times"),
    "test-edited": (FULL, "`test_training_loop` was edited"),
    "metadata-stripped": (FULL, "lost its nbgrader metadata"),
    "syntax-error": ([0, 0, 6, 3], "`todo1_optimizer` stopped with SyntaxError"),
    "exit": ([3, 2, 0, 0], "the kernel had ended"),
    "killed-kernel": ([3, 2, 0, 0], "kernel ended"),
    "enormous-output": (FULL, None),
    "warnings": (FULL, None),
    "byte-order-mark": (FULL, None),
    "hostile": (FULL, None),
    "pasted-elsewhere": (FULL, "What was written beside"),
}


@pytest.mark.parametrize(
    ("course", "student", "points", "words"),
    [("sample", s, *expected) for s, expected in SAMPLE.items()]
    + [("bad", s, *expected) for s, expected in BAD.items()],
)
def test_row(courses, course, student, points, words):
    row = courses[course].rows()[student]
    assert list(row.points.values()) == points, row.said
    if words is None:
        assert row.said == []
    else:
        assert words in " ".join(row.said)


def test_one_mistake_is_one_sentence(courses):
    rows = courses["sample"].rows()
    for student, (points, _) in SAMPLE.items():
        mistakes = 2 if student == "untouched" else points != FULL  # both TODOs are
        assert len(rows[student].mistakes) == mistakes, rows[student].mistakes


def test_every_submission_has_a_row(courses):
    assert set(courses["sample"].rows()) == set(SAMPLE)
    assert set(courses["bad"].rows()) == set(BAD)


def test_submissions_are_untouched(courses):
    assert contents(courses["bad"].folder / "submitted") == courses["bad"].before


def test_enormous_output_is_cut(courses):
    path = courses["bad"].folder / "autograded" / "enormous-output" / ASSIGNMENT / RELEASE.name
    assert path.stat().st_size < 3_000_000
    assert "output cut here" in path.read_text()


def test_feedback_and_export(courses):
    course = courses["sample"]
    status, printed = course.run("nbgrader", "generate_feedback", ASSIGNMENT)
    assert status == 0, printed
    pages = list(course.folder.glob("feedback/*/*/*.html"))
    assert len(pages) == len(SAMPLE)
    page = next(p for p in pages if "forgot-zero-grad" in str(p)).read_text()
    assert "gradients of earlier batches" in page
    assert not any("HIDDEN" in p.read_text() or "20031" in p.read_text() for p in pages)
    status, printed = course.run("nbgrader", "export")
    assert status == 0, printed
    with open(course.folder / "grades.csv") as file:
        scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores["the-solution"] == scores["right-first-time"] == 14
    assert scores["untouched"] == 0


def test_validate_names_the_mistake(courses, tmp_path):
    course = courses["sample"]
    for student, words in (("right-first-time", "Success!"), ("sum-not-mean", "never divided")):
        status, printed = course.run(
            "nbgrader", "validate", f"submitted/{student}/{ASSIGNMENT}/{RELEASE.name}"
        )
        assert status == 0 and words in " ".join(printed.split()), printed


def test_a_file_that_is_no_notebook_is_no_recorded_zero(courses):
    folder = courses["bad"].folder
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "fine-tuning") as gradebook:
        grades = gradebook.find_submission_notebook(ASSIGNMENT, ASSIGNMENT, "not-a-notebook").grades
        assert grades and all(grade.auto_score is None for grade in grades)
    assert not (folder / "autograded" / "not-a-notebook" / ASSIGNMENT).exists()


def test_feedback_pages_name_what_was_found_and_can_be_read_by_all(courses):
    """At the top, with a link to each check, and by what it asks; in a window of 390 pixels, too."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install axe-playwright-python")
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    course = courses["sample"]
    status, printed = course.run("nbgrader", "generate_feedback", ASSIGNMENT, "--student", "forgot-attention-mask")
    assert status == 0, printed
    (page_file,) = course.folder.glob("feedback/forgot-attention-mask/*/*.html")
    assert ["4 of 6", "3 of 3", "12 of 28 points"] == [said for said in ("4 of 6", "3 of 3", "12 of 28 points") if said in page_file.read_text()]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(page_file.as_uri())
        found = page.get_by_role("region", name="What was found")
        assert "No attention mask reached the model" in found.inner_text()
        found.get_by_role("link", name="To the check Does the loop train").click()
        assert page.url.endswith("#test_training_loop")
        assert "12.1 Did the loss decrease smoothly" in page.get_by_role("navigation").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert [each["id"] for each in axe.Axe().run(page).response["violations"]] == []
        browser.close()


def photograph(page, name):
    """Keep what a page shows as a picture of docs/instructor.md, where the environment has SCREENSHOTS."""
    if os.environ.get("SCREENSHOTS"):
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(1000)  # what moves has come to rest
        shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        shown.quantize(64).save(ROOT / "docs" / "screenshots" / f"{name}.png", optimize=True)


def test_an_answer_is_graded_in_formgrader_by_its_rubric_and_comes_back_without_it(courses, tmp_path):
    """The way of docs/instructor.md: its menu, its pages, its buttons; what they show are its pictures."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    shutil.copytree(courses["sample"].folder, tmp_path, dirs_exist_ok=True)
    student, answer = "default-learning-rate", "reflect_beneficial"
    rubric, comment = "1 point: a judgement that rests on accuracy", "How do you know? Give your numbers."
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db", "fine-tuning") as gradebook:
        submission = gradebook.find_submission_notebook(ASSIGNMENT, ASSIGNMENT, student).id
    with jupyterlab(tmp_path) as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 620})
        page.set_default_timeout(120_000)

        page.goto(f"{server}/lab{TOKEN}")
        page.get_by_role("menuitem", name="Nbgrader").click()
        page.get_by_role("menuitem", name="Formgrader", exact=True).click()
        page.frame_locator("iframe").get_by_role("link", name=ASSIGNMENT).wait_for()
        page.goto(f"{server}/formgrader/manage_assignments")
        assert page.locator("tr", has_text=ASSIGNMENT).locator(".num-submissions").inner_text() == str(len(SAMPLE))
        photograph(page, "formgrader-assignments")

        page.goto(f"{server}/formgrader/submissions/{submission}/")
        page.locator(f"#{answer}.needs_manual_grade").wait_for()
        cell = page.locator(".nbgrader_cell", has=page.locator(f"#{answer}"))
        assert "It was fine I think" in cell.inner_text()
        beside, end = page.get_by_text(rubric).bounding_box(), cell.bounding_box()
        assert 0 < beside["y"] - end["y"] - end["height"] < 50
        for field, typed in ((cell.locator(".score"), "0.5"), (cell.locator(".comment"), comment)):
            with page.expect_response(lambda response: response.request.method == "PUT" and response.ok):
                field.fill(typed)
                field.blur()
        assert in_gradebook(tmp_path, student, answer) == (0.5, False, comment)
        cell.evaluate("cell => scrollBy(0, cell.getBoundingClientRect().top - 150)")
        photograph(page, "formgrader-rubric")

        page.goto(f"{server}/formgrader/manage_submissions/{ASSIGNMENT}")
        page.locator("tr", has_text=student).locator(".generate-feedback a").click()
        page.get_by_text("Successfully generated feedback").wait_for()
        page.goto((tmp_path / "feedback" / student / ASSIGNMENT / f"{ASSIGNMENT}.html").as_uri())
        shown = page.locator("body").inner_text()
        assert "12.5 of 28 points" in shown and comment in shown and "It was fine I think" in shown
        assert rubric not in page.content()
        photograph(page, "feedback")

        status, printed = Course(tmp_path).run("autograder", "report")
        assert status == 0, printed
        page.goto((tmp_path / "report.html").as_uri())
        assert "12.5" in page.locator("tr", has_text=student).inner_text()
        page.locator("table").first.evaluate("table => scrollBy(0, table.getBoundingClientRect().top - 100)")
        photograph(page, "report")
        page.get_by_role("link", name=student).first.click()
        assert comment in page.locator("body").inner_text()
        browser.close()
