"""The student notebook in JupyterLab, in a real browser: what a student clicks, types and reads.

The tests are one journey, in their order. Pictures of every output lie in pytest's temporary folder.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from bad_inputs import LOOP, OPTIMIZER, cell
from conftest import ASSIGNMENT, RELEASE, ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

EPOCHS = int(os.environ.get("EPOCHS", 3))
# What the student adds to a cell of their own, so that the journey takes two minutes and not five.
SHORT = f"EPOCHS_TO_RUN = lab.epochs = {EPOCHS}\nprediction = prediction[:{EPOCHS}]"
SECONDS = 600  # the longest wait for a cell, on a busy machine
QUIET = {"fetchNews": "false", "checkForUpdates": False}


class Student:
    """Someone at a notebook in JupyterLab. Cells are named by their grade_id, or by words of their source."""

    def __init__(self, page, url):
        self.page, self.thrown = page, []
        page.on("pageerror", lambda error: self.thrown.append(str(error)))
        page.goto(url)
        self.wait("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
        self.sources = self.ask("notebook.widgets.map(cell => [cell.model.getMetadata('nbgrader')?.grade_id, cell.model.sharedModel.source])")

    def ask(self, expression):
        """Return the value of a JavaScript expression on `notebook`, JupyterLab's."""
        return self.page.evaluate(f"() => {{ const notebook = jupyterapp.shell.currentWidget.content; return {expression}; }}")

    def wait(self, condition, seconds=SECONDS):
        self.page.wait_for_function(condition, timeout=1000 * seconds)

    def find(self, name):
        """Return a cell's position."""
        return next(k for k, known in enumerate(self.sources) if name == known[0] or name in known[1] and name.endswith("["))

    def select(self, name):
        """Make a cell the active one, in command mode, and scroll to it."""
        k = self.find(name)
        self.ask(f"(notebook.activeCellIndex = {k}, notebook.mode = 'command', notebook.activate(), notebook.scrollToItem({k}))")
        return k

    def write(self, name, source):
        """Type a cell's whole content anew."""
        self.select(name)
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Escape")

    def start(self, name):
        """Run a cell; do not wait."""
        self.select(name)
        self.page.keyboard.press("Shift+Enter")

    def run(self, name):
        """Run a cell to its end; return what can be read below it."""
        k = self.find(name)
        before = self.ask(f"notebook.widgets[{k}].model.executionCount ?? 0")
        self.start(name)
        model = f"jupyterapp.shell.currentWidget.content.widgets[{k}].model"
        self.wait(f"{model}.executionCount > {before} && {model}.executionState === 'idle'")
        return self.read(name)

    def read(self, name):
        return self.output(name).inner_text()

    def output(self, name):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(self.find(name)).locator(".jp-Cell-outputWrapper")

    def errors(self):
        """Return what stands below any cell as an error or on stderr."""
        outputs = self.ask("notebook.widgets.flatMap(cell => cell.outputArea?.model.toJSON() ?? [])")
        return [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]

    def photograph(self, folder, width):
        """Take a picture of every cell that shows something, in a window so wide."""
        for k, (grade_id, _) in enumerate(self.sources):
            shown = self.page.locator(".jp-Notebook .jp-Cell").nth(k).locator(".jp-Cell-outputWrapper")
            if not shown.count() or not self.ask(f"notebook.widgets[{k}].outputArea?.model.length"):
                continue
            self.page.set_viewport_size({"width": width, "height": 900})
            self.ask(f"notebook.scrollToItem({k})")
            self.page.wait_for_timeout(300)
            height = shown.bounding_box()["height"]
            self.page.set_viewport_size({"width": width, "height": int(max(900, height + 300))})
            shown.scroll_into_view_if_needed()
            shown.screenshot(path=folder / f"{width}-{k:02}-{grade_id or 'own'}.png")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def student(folder):
    with opened(folder) as student:
        yield student


@contextmanager
def opened(folder):
    """Give a Student at the student notebook, freshly opened, in an empty folder."""
    where = folder / "notebooks" / ASSIGNMENT
    where.mkdir(parents=True)
    shutil.copy(RELEASE, where)
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"), "IPYTHONDIR": str(folder / "ipython"),
    }  # fmt: skip
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(address + "/api", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.set_default_timeout(60_000)
            yield Student(page, f"{address}/lab/tree/notebooks/{ASSIGNMENT}/{RELEASE.name}")
            browser.close()
    finally:
        server.terminate()
        server.wait(30)


def epochs(text):
    """Return the lines of a run, up to the last whole one."""
    return re.findall(r"Epoch \d+, Loss: \d\.\d{4}", text)


def test_a_cell_run_too_early_says_what_comes_first(student):
    assert "Run the set-up cells first" in student.run("my_sentences = [")


def test_set_up_and_what_stands_before_the_first_task(student):
    for name in ("imports", "data", "model"):
        student.run(name)
    assert "thread" in student.read("data")
    student.run("my_sentences = [")
    for name in ("look_at_batch", "model_figure", "prediction = ["):
        student.run(name)
    student.write("prediction = [", student.sources[student.find("prediction = [")][1] + "\n" + SHORT)
    student.run("prediction = [")
    for name in ("my_sentences = [", "look_at_batch", "model_figure", "prediction = ["):
        assert student.output(name).locator("img").count() == 1


def test_a_wrong_optimizer_and_then_the_right_one(student, solution):
    assert "TODO #1 is untouched" in student.run("test_learning_rate")
    right = cell(solution, OPTIMIZER).source
    student.write(OPTIMIZER, right.replace("lr=2.5e-3, ", ""))
    student.run(OPTIMIZER)
    assert "3 of 3 points" in student.run("test_parameter_groups")
    assert "0.001" in student.run("test_learning_rate")
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
    student.run("early_check")
    assert student.errors() == []


def test_a_run_that_is_stopped_leaves_nothing_in_the_next(student):
    student.start("run")
    student.page.wait_for_function(
        "k => jupyterapp.shell.currentWidget.content.widgets[k].node.innerText.includes('Epoch 1,')", arg=student.find("run"), timeout=1000 * SECONDS
    )
    student.page.locator("[data-jp-item-name=interrupt]").first.click()
    k = student.find("run")
    student.wait(f"jupyterapp.shell.currentWidget.content.widgets[{k}].model.executionState === 'idle'")
    stopped = student.read("run")
    print(stopped)
    again = student.run("run")
    print(again)
    assert epochs(stopped) and len(epochs(again)) == EPOCHS
    assert epochs(again)[: len(epochs(stopped))] == epochs(stopped)
    assert student.output("run").locator("img").count() == 1
    assert "3 of 3 points" in student.run("test_loss_history")


def test_the_rest_runs_to_the_end_without_a_traceback(student):
    student.select("again_text")
    k = student.find("again_text")
    student.page.get_by_role("menuitem", name="Run", exact=True).click()
    student.page.get_by_role("menuitem", name=re.compile("^Run Selected Cell and All Below")).click()
    student.wait(f"jupyterapp.shell.currentWidget.content.widgets.slice({k}).every(cell => cell.model.type !== 'code' || cell.model.executionCount && cell.model.executionState === 'idle')")
    assert student.errors() == [] and student.thrown == []


def test_pictures_of_every_output(student, folder):
    for width in (1400, 700):
        student.photograph(folder, width)
    assert len(list(folder.glob("*.png"))) > 50
