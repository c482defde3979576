"""The student notebook in JupyterLab, in a real browser: what a student clicks, types and reads.

The tests are one journey, in their order. Pictures of every output lie in pytest's temporary folder.
"""

import re
import shutil

import pytest
from bad_inputs import LOOP, OPTIMIZER, cell
from conftest import ASSIGNMENT, CHROMIUM, RELEASE
from jupyterlabs import TOKEN, jupyterlab

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

EPOCHS = 3
# What the student adds to a cell of their own, so that the journey takes two minutes and not five.
SHORT = f"EPOCHS_TO_RUN = lab.epochs = {EPOCHS}\nprediction = prediction[:{EPOCHS}]"
SECONDS = 600  # the longest wait for a cell, on a busy machine
NOTEBOOK = "window.jupyterapp?.shell.currentWidget?.content"  # in JavaScript


class Student:
    """Someone at a notebook in JupyterLab.

    A cell's name is its grade_id; a cell of the student's own is named after the list it makes.
    """

    def __init__(self, page, address):
        self.page, self.thrown = page, []
        page.on("pageerror", lambda error: self.thrown.append(str(error)))
        page.goto(address)
        self.wait("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
        each = "cell => [cell.model.getMetadata('nbgrader')?.grade_id, cell.model.sharedModel.source]"
        known = page.evaluate(f"{NOTEBOOK}.widgets.map({each})")
        lists = [re.search(r"^(\w+) = \[", source, re.MULTILINE) for _, source in known]
        self.names = [grade_id or (made and made[1]) for (grade_id, _), made in zip(known, lists)]

    def wait(self, condition):
        """Wait until a JavaScript expression holds."""
        self.page.wait_for_function(condition, timeout=1000 * SECONDS)

    def widget(self, name):
        """Return JavaScript for JupyterLab's widget of a cell."""
        return f"{NOTEBOOK}.widgets[{self.names.index(name)}]"

    def output(self, name):
        cells = self.page.locator(".jp-Notebook .jp-Cell")
        return cells.nth(self.names.index(name)).locator(".jp-Cell-outputWrapper")

    def read(self, name):
        """Return what can be read below a cell."""
        return self.output(name).inner_text()

    def select(self, name):
        """Make a cell the active one, and scroll to it."""
        k = self.names.index(name)
        for do in (f"activeCellIndex = {k}", "mode = 'command'", "activate()", f"scrollToItem({k})"):
            self.page.evaluate(f"void ({NOTEBOOK.replace('?', '')}.{do})")

    def write(self, name, source):
        """Type a cell's whole content anew."""
        self.select(name)
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Escape")

    def start(self, name):
        """Run a cell, without waiting for its end."""
        self.select(name)
        self.page.keyboard.press("Shift+Enter")

    def run(self, name):
        """Run a cell to its end; return what can be read below it."""
        model = f"{self.widget(name)}.model"
        before = self.page.evaluate(f"{model}.executionCount ?? 0")
        self.start(name)
        self.wait(f"{model}.executionCount > {before} && {model}.executionState === 'idle'")
        return self.read(name)

    def errors(self):
        """Return what stands below any cell as an error or on stderr."""
        outputs = self.page.evaluate(f"{NOTEBOOK}.widgets.flatMap(cell => cell.outputArea?.model.toJSON() ?? [])")
        return [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]

    def photograph(self, folder, width):
        """Take a picture of every cell that shows something, in a window so many pixels wide."""
        for k, name in enumerate(self.names):
            if not self.page.evaluate(f"{NOTEBOOK}.widgets[{k}].outputArea?.model.length"):
                continue
            shown = self.output(name)
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.evaluate(f"{NOTEBOOK}.scrollToItem({k})")
            self.page.wait_for_timeout(200)
            height = int(shown.bounding_box()["height"])
            self.page.set_viewport_size({"width": width, "height": max(900, height + 300)})
            shown.screenshot(path=folder / f"{width}-{k:02}-{name}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the student notebook, for JupyterLab to be started in, and for the pictures."""
    made = tmp_path_factory.mktemp("browser")
    (made / "notebooks" / ASSIGNMENT).mkdir(parents=True)
    shutil.copy(RELEASE, made / "notebooks" / ASSIGNMENT)
    return made


@pytest.fixture(scope="module")
def address(folder):
    """The notebook's address in a JupyterLab of its own."""
    with jupyterlab(folder) as server:
        yield f"{server}/lab/tree/notebooks/{ASSIGNMENT}/{RELEASE.name}{TOKEN}"


@pytest.fixture(scope="module")
def student(address):
    """A Student at the student notebook, freshly opened."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(120_000)
        yield Student(page, address)
        browser.close()


def epochs(text):
    """Return the lines that a run has printed."""
    return re.findall(r"Epoch \d+, Loss: \d\.\d{4}", text)


def test_a_cell_run_too_early_says_what_comes_first(student):
    assert "Run the set-up cells first" in student.run("my_sentences")


def test_set_up_and_what_stands_before_the_first_task(student):
    for name in ("imports", "data", "model"):
        student.run(name)
    assert "torch computes on" in student.read("data")
    student.write("prediction", student.page.evaluate(f"{student.widget('prediction')}.model.sharedModel.source") + f"\n{SHORT}")
    for name in ("my_sentences", "look_at_batch", "model_figure", "prediction"):
        student.run(name)
        assert student.output(name).locator("img").count() == 1


def test_a_wrong_optimizer_and_then_the_right_one(student, solution):
    assert "TODO #1 is untouched" in student.run("test_learning_rate")
    assert "TODO #1 is not written yet" in student.run(OPTIMIZER)
    right = cell(solution, OPTIMIZER).source
    student.write(OPTIMIZER, right.replace("lr=2.5e-3, ", ""))
    student.run(OPTIMIZER)
    assert "3 of 3 points" in student.run("test_parameter_groups")
    assert "0.001" in student.run("test_learning_rate")  # AdamW's own rate
    student.write(OPTIMIZER, right.replace("optimizer =", "optimizer = ="))
    student.run(OPTIMIZER)
    for name in ("test_parameter_groups", "test_learning_rate"):
        assert student.read(name).startswith("Out of date")
        assert "stopped with SyntaxError" in student.run(name)
    student.write(OPTIMIZER, right)
    student.run(OPTIMIZER)
    student.run("test_parameter_groups")
    assert "2 of 2 points" in student.run("test_learning_rate")
    student.run("step_figure")
    assert student.output("step_figure").locator("img").count() == 1


def test_a_loop_without_return_is_told_before_the_long_run(student, solution):
    right = cell(solution, LOOP).source
    student.write(LOOP, re.sub(r"return \w+", "pass", right))
    student.run(LOOP)
    student.run("test_training_loop")
    assert "return" in student.run("early_check")
    student.write(LOOP, right)
    student.run(LOOP)
    assert "6 of 6 points" in student.run("test_training_loop")
    early = student.run("early_check")
    assert "ready for the run" in early and "of 3 points" not in early


def test_a_run_that_is_stopped_leaves_nothing_in_the_next(student):
    student.start("run")
    student.wait(f"{student.widget('run')}.node.innerText.includes('Epoch 1, Loss')")
    student.page.locator("[data-jp-item-name=interrupt]").first.click()
    student.wait(f"{student.widget('run')}.model.executionState === 'idle'")
    stopped = student.read("run")
    assert "You stopped this cell" in stopped
    again = student.run("run")
    assert len(epochs(again)) == EPOCHS > len(epochs(stopped)) > 0
    assert epochs(again)[: len(epochs(stopped))] == epochs(stopped)
    assert student.output("run").locator("img").count() == 1
    assert student.output("run").get_by_text("This figure in words").count() == 1
    assert "3 of 3 points" in student.run("test_loss_history")


def test_the_rest_runs_to_the_end_without_a_traceback(student):
    student.select("again_text")
    student.page.get_by_role("menuitem", name="Run", exact=True).click()
    student.page.get_by_role("menuitem", name=re.compile("^Run Selected Cell and All Below")).click()
    done = "cell => cell.model.type !== 'code' || cell.model.executionCount && cell.model.executionState === 'idle'"
    student.wait(f"{NOTEBOOK}.widgets.every({done})")
    assert student.errors() == [] and student.thrown == []


def test_the_slider_moves_the_sentences(student):
    student.select("cloud")
    slider, dot = student.output("cloud").locator("input[type=range]"), student.output("cloud").locator("path.moves").last
    before = dot.get_attribute("transform")
    slider.press("End")
    assert student.output("cloud").locator("output").inner_text() == str(EPOCHS)
    assert dot.get_attribute("transform") != before


@pytest.mark.parametrize("width", [1400, 700])
def test_every_figure_fits_its_window(student, folder, width):
    if width == 700:
        student.page.keyboard.press("Control+b")  # without the list of files
    student.photograph(folder, width)
    images = student.page.locator(".jp-Notebook .jp-OutputArea img:visible")
    assert images.count() >= 15
    tables = student.page.locator(".jp-OutputArea [role=region]:has(table):visible")  # which scroll
    assert tables.count() == 3
    for box in (shown.bounding_box() for shown in [*images.all(), *tables.all()]):
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
