"""Grade one class on an idle machine and on a busy one, with limits of time that are tight: nothing may differ.

    python tests/benchmarks/busy.py        24 submissions, an endless loop and an endless sleep among them

The limits are twice what the slowest cell and the slowest notebook need when the machine has nothing
else to do. Exits with 1 where scores or findings differ, or something endless was not ended.
"""

import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import nbformat
from classes import ASSIGNMENT, course, run, scores

from autograder.grading import answers

BUSY = 6  # processes
ENDLESS = {"an-endless-loop": "while True: pass", "an-endless-sleep": "import time\nwhile True: time.sleep(1)"}


def graded(folder):
    """Return {student: notebook} of what is graded."""
    return {path.parts[-3]: nbformat.read(path, 4) for path in sorted(folder.glob("autograded/*/*/*.ipynb"))}


def needs(notebook):
    """Return the seconds that each cell of an executed notebook took, as its kernel says."""
    times = [cell.metadata.get("execution", {}) for cell in notebook.cells]
    ends = [[t.get(f"iopub.status.{state}") for state in ("busy", "idle")] for t in times]
    return [
        (datetime.fromisoformat(idle) - datetime.fromisoformat(busy)).total_seconds()
        for busy, idle in ends
        if busy and idle
    ]


def verdicts(folder):
    """Return {student: the outputs of the test cells, and the limits that were hit}."""
    return {
        student: (
            [c.get("outputs") for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade")],
            notebook.metadata.autograder["limits"],
        )
        for student, notebook in graded(folder).items()
    }


def grade(folder):
    """Grade everybody; return scores, verdicts and seconds."""
    begun = time.monotonic()
    run(folder, "autograder", "grade", ASSIGNMENT, "--force")
    return scores(folder), verdicts(folder), time.monotonic() - begun


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = course(Path(folder, "course"), 24)
        grade(folder)
        found = [needs(notebook) for notebook in graded(folder).values()]
        limits = 2 * max(map(max, found)), 2 * max(map(sum, found))
        print(f"Limits: {limits[0]:.2f} s a cell, {limits[1]:.2f} s a notebook.", flush=True)
        with open(folder / "nbgrader_config.py", "a") as config:
            config.write(f"\nc.Execute.timeout, c.Execute.notebook_timeout = {limits}\n")
        release = nbformat.read(folder / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", 4)
        for student, source in ENDLESS.items():
            target = folder / "submitted" / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
            target.parent.mkdir(parents=True)
            nbformat.write(answers.fill(release, {"todo1_optimizer": source}), target)
        idle = grade(folder)
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
        try:
            busy = grade(folder)
        finally:
            for process in others:
                process.kill()
    print(f"Idle: {idle[2]:.0f} s. With {BUSY} processes beside it: {busy[2]:.0f} s.")
    # What an endless cell leaves of its notebook's time is a matter of moments: those must only end.
    honest = idle[1].keys() - ENDLESS
    differ = [name for name in honest if (idle[0][name], idle[1][name]) != (busy[0][name], busy[1][name])]
    cut = [name for name in idle[1] if idle[1][name][1] or busy[1][name][1]]
    print(f"{len(idle[1])} students, graded differently: {differ}; time ran out for: {cut}")
    sys.exit(bool(differ) or cut != sorted(ENDLESS))


if __name__ == "__main__":
    main()
