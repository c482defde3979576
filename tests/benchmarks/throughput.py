"""Grade one class with stock nbgrader and with `autograder grade`, and see what the time goes to.

    python tests/benchmarks/throughput.py            24 submissions both ways, then growth to 400;
                                                     24 again at the end tells noise from growth

Prints tables and writes them to tests/benchmarks/results.md. Ratios count: seconds differ from
machine to machine, and both commands run in the same minutes on the same one.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from statistics import mean, median

import nbformat
import psutil
from classes import ASSIGNMENT, course, environment

from autograder.cells import counts, is_check
from autograder.grading.cluster import AHEAD

HERE = Path(__file__).parent


class Memory(threading.Thread):
    """Watch what a process and all that it starts occupy, in MB; shared pages count once."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.process, self.all, self.first = psutil.Process(pid), 0, []

    def run(self):
        while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in (self.process, *self.process.children(recursive=True)):
                try:
                    total += process.memory_full_info().pss / 2**20
                except psutil.Error:
                    pass
            self.all = max(self.all, total)
            try:
                self.first.append(self.process.memory_info().rss / 2**20)
            except psutil.Error:
                break
            time.sleep(2)  # a look costs tens of milliseconds


def grade(folder, program, *arguments):
    """Run a command in a course; return what timed.py found, with memory and the cells' seconds."""
    out = folder / "seconds.json"
    command = [sys.executable, HERE / "timed.py", out, program, *arguments]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    memory = Memory(process.pid)
    memory.start()
    _, said = process.communicate()
    if process.returncode:
        sys.exit(f"{program} failed:\n{said[-3000:]}")
    found = json.loads(out.read_text())
    found["memory"], found["coordinator"] = memory.all, memory.first
    notebooks = [nbformat.read(path, 4) for path in folder.glob("autograded/*/*/*.ipynb")]
    seconds = [seconds_of(notebook) for notebook in notebooks]
    found |= {kind: sum(part[kind] for part in seconds) for kind in KINDS}
    if "execute" not in found:
        found["execute"] = sum(notebook.metadata.autograder.seconds for notebook in notebooks)
    return found


KINDS = ("cells", "checks", "figures")


def seconds_of(notebook):
    """Return the seconds that a notebook's cells took, as the kernel says, by kind.

    figures: and others that no check needs, which `autograder grade` does not run.
    """
    needed = {cell.id for cell in counts(notebook.cells)}
    total = dict.fromkeys(KINDS, 0.0)
    for cell in notebook.cells:
        times = cell.metadata.get("execution", {})
        if "iopub.status.busy" in times:
            kind = "checks" if is_check(cell) else "cells" if cell.id in needed else "figures"
            ends = (datetime.fromisoformat(times[f"iopub.status.{state}"]) for state in ("idle", "busy"))
            total[kind] += (next(ends) - next(ends)).total_seconds()
    return total


def compare(students, workers):
    """Return the table of stock nbgrader against autograder grade."""
    with tempfile.TemporaryDirectory() as folder:
        stock = grade(course(f"{folder}/stock", students, stock=True), "nbgrader", "autograde", ASSIGNMENT)
        ours = grade(course(f"{folder}/ours", students), "autograder", "grade", ASSIGNMENT)
    lines = [
        f"| {students} submissions, {os.cpu_count()} cores | stock `nbgrader autograde` | `autograder grade` | ratio |",
        "|---|---:|---:|---:|",
        row("whole command, s", stock["total"], ours["total"]),
        row("… without the figures", stock["total"] - stock["figures"], ours["total"] - ours["figures"]),
        row("a submission, s", stock["total"] / students, ours["total"] / students),
        row("peak memory, MB", stock["memory"], ours["memory"]),
    ]
    for name, part in PARTS.items():
        lines.append(row(f"… {name}, s a submission", part(stock) / students, part(ours) / students))
    spread = ours["moments"][-1] - ours["moments"][workers - 1]
    steady = spread / (students - workers)
    cells = (ours["cells"] + ours["checks"]) / students / workers
    lines.append(
        f"\nOnce it runs, {workers} workers finish a submission every {steady:.2f} s; its cells alone take "
        f"{cells:.2f} s of them: overhead {steady / cells - 1:.0%}. The first result comes after "
        f"{ours['moments'][0]:.1f} s.\n"
    )
    return "\n".join(lines)


# The steps of `autograder grade` overlap: in its column they add up to more than a submission takes.
PARTS = {
    "figures and other cells that no check needs": lambda found: found["figures"],
    "student's and other locked cells": lambda found: found["cells"],
    "checks": lambda found: found["checks"],
    "kernel start and end, talking to it": lambda f: f["execute"] - sum(f[kind] for kind in KINDS),
    "gradebook": lambda found: found["gradebook"],
    "nbgrader's other steps": lambda f: f["this process"]
    - f["gradebook"]
    - (f["execute"] if "moments" in f and not f["moments"] else 0),
}


def row(name, stock, ours):
    return f"| {name} | {stock:.2f} | {ours:.2f} | {f'{stock / ours:.1f}' if ours else '–'} |"


def growth(sizes):
    """Return the table of how cost grows with the class, for submissions whose cells take no time."""
    ahead = AHEAD * os.cpu_count()
    lines = ["| light submissions | s a submission | coordinator, MB: median, end |", "|---:|---:|---:|"]
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found = grade(course(f"{folder}/light", size, light=True), "autograder", "grade", ASSIGNMENT)
        moments, memory = found["moments"], found["coordinator"]
        # While the queue is full: its end costs less, as nothing is left to be prepared.
        steady = (moments[-ahead - 1] - moments[3]) / (size - ahead - 4)
        lines.append(f"| {size} | {steady:.3f} | {median(memory):.0f}, {mean(memory[-4:-1]):.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=24)
    parser.add_argument("--sizes", type=int, nargs="*", default=[24, 100, 400, 24])
    settings = parser.parse_args()
    parts = [f"Written by `python tests/benchmarks/throughput.py` ({platform.machine()}, {os.cpu_count()} cores).", ""]
    if settings.students:
        parts.append(compare(settings.students, os.cpu_count()))
        print(parts[-1])
    if settings.sizes:
        parts.append(growth(settings.sizes))
        print(parts[-1])
    (HERE / "results.md").write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
