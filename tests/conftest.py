"""A course in a temporary folder, and two classes graded once for all tests that look at them."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from bad_inputs import BAD_INPUTS, edited
from classes import environment
from jupyter_client.manager import KernelManager
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder.grading import answers, report

ROOT = Path(__file__).parent.parent
ASSIGNMENT = "08_tinybert_fine_tuning"
RELEASE = ROOT / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
SOLUTION = ROOT / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
# The system's browser; None where there is none.
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


class Course:
    """A folder with what nbgrader needs, to run its commands in."""

    def __init__(self, folder):
        self.folder = folder

    @classmethod
    def copy(cls, folder):
        """Copy the project's course to an empty folder."""
        shutil.copy(ROOT / "nbgrader_config.py", folder)
        (folder / ".secret").write_text("the same probes in every run")
        for name in ("solutions", "notebooks"):
            shutil.copytree(ROOT / name, folder / name)
        return cls(folder)

    def start(self, *arguments, **how):
        """Start a command of the environment that runs the tests; return the process."""
        return subprocess.Popen(
            [Path(sys.executable).parent / arguments[0], *arguments[1:]],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**environment(), "OMP_NUM_THREADS": "1"}, **how,
        )  # fmt: skip

    def run(self, *arguments, timeout=900):
        """Run a command to its end; return its exit status and what it printed."""
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=timeout)
        return process.returncode, printed

    def rows(self, assignment=ASSIGNMENT):
        """Return {student: Row} of the report."""
        course = CourseDirectory(root=str(self.folder))
        course.source_directory, course.release_directory = "solutions", "notebooks"
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            return {row.student: row for row in report.rows(course, assignment)[1]}
        finally:
            os.chdir(here)


@pytest.fixture(scope="session")
def release():
    """The student notebook, as nbformat reads it."""
    return nbformat.read(RELEASE, as_version=4)


@pytest.fixture(scope="session")
def solution():
    """The solution notebook, as nbformat reads it."""
    return nbformat.read(SOLUTION, as_version=4)


@pytest.fixture(scope="session")
def courses(tmp_path_factory, release, solution):
    """Two graded courses, {"sample": Course, "bad": Course}, graded side by side."""
    found = {name: Course.copy(tmp_path_factory.mktemp(name)) for name in ("sample", "bad")}
    for course in found.values():
        status, printed = course.run("nbgrader", "generate_assignment", ASSIGNMENT, "--force")
        assert status == 0, printed
    sample = found["sample"].folder / "submitted"
    answers.build_class(ROOT / "data" / "sample_class", RELEASE, sample, ASSIGNMENT)
    solved = sample / "the-solution" / ASSIGNMENT
    solved.mkdir(parents=True)
    edited(lambda notebook: None)(solved, RELEASE.name, release, solution)
    for name, spoil in BAD_INPUTS.items():
        folder = found["bad"].folder / "submitted" / name / ASSIGNMENT
        folder.mkdir(parents=True)
        spoil(folder, RELEASE.name, release, solution)
    found["bad"].before = contents(found["bad"].folder / "submitted")
    running = [course.start("nbgrader", "autograde", ASSIGNMENT) for course in found.values()]
    for course, process in zip(found.values(), running):
        course.printed, _ = process.communicate(timeout=1500)
    return found


def asked_for(request, known):
    """Return those of {name: ...} that the selected tests of this module are about; all where none is named."""
    items = [item for item in request.session.items if item.module is request.module]
    params = [item.callspec.params for item in items if hasattr(item, "callspec")]
    named = {each["name"] for each in params if "name" in each}
    return {name: value for name, value in known.items() if name in named} or known


def contents(folder):
    """Return {path: bytes} of every file below `folder`."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def kernel(tmp_path):
    """Start kernels with kernel(**how); each is (manager, run), and run(code) is what it printed.

    env and cwd as for KernelManager; everything else is a trait of the provisioner.
    """
    started = []

    def start(env=None, cwd=None, **traits):
        manager = KernelManager(config=Config({"WarmProvisioner": traits}))
        manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "warm"}
        manager.start_kernel(env={**os.environ, **(env or {})}, cwd=str(cwd or tmp_path))
        client = manager.client()
        client.start_channels()
        started.append((manager, client))
        client.wait_for_ready(timeout=60)

        def run(code):
            printed = []
            client.execute_interactive(
                code, timeout=60, output_hook=lambda m: printed.append(m["content"].get("text", ""))
            )
            return "".join(printed).strip()

        run.send = client.execute  # without waiting for an answer
        return manager, run

    yield start
    for manager, client in started:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def gone(manager):
    """Wait for a kernel's end; return whether it came."""
    for _ in range(200):
        if not manager.is_alive():
            return True
        time.sleep(0.1)
    return False
