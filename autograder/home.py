"""`autograder check NOTEBOOK`: run a notebook's cells up to its checks, and print what they find.

The cells run as if their author had clicked through them, without a sandbox, in a kernel of this Python.
The set-up takes a few reviews, as for a grade, and what no check depends on is left out: so an answer is
there in seconds. The notebook's file stays as it is.
"""

import argparse
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from .cells import counts, is_check
from .rule import Finding
from .verdict import MIME_TYPE, Verdict

SECONDS = 60  # that one cell may take; the slowest needs two
GREEN, RED = "32", "31"  # of a terminal


class NotChecked(Exception):
    """There is nothing to check. Its text is one sentence that says why."""


class SetUpFailed(Exception):
    """A locked cell stopped before any answer. Its text is one sentence that says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the notebook that the command line names; return the exit status.

    0: every check passes; 1: one does not; 2: there is nothing to check; 130: stopped by Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="autograder check",
        description="Run your notebook's own cells and its checks, and print what they find. "
        "It is run as you would run it, without a sandbox: take it for your own notebooks.",
    )
    parser.add_argument("notebook", metavar="NOTEBOOK", type=Path, help="the .ipynb file; it stays as it is")
    path = parser.parse_args(arguments).notebook
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # no terminal is too old for a ✓
    screen = Screen()
    try:
        return screen.check(read(path), path.parent)
    except NotChecked as reason:
        print(plain(reason), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.")
        return 130


def read(path: Path) -> NotebookNode:
    """Return a notebook of the cells that its checks depend on. Raises NotChecked where it has none."""
    if not path.exists():
        raise NotChecked(f"There is no file {path}.")
    if path.is_dir():
        raise NotChecked(f"{path} is a folder: name the notebook in it, a file that ends in .ipynb.")
    try:
        with warnings.catch_warnings(action="ignore"):  # of small faults that nbformat mends
            notebook = nbformat.read(path, as_version=4)
        notebook.cells = counts(notebook.cells)
    except OSError as error:
        raise NotChecked(f"{path} cannot be read: {error.strerror}.") from None
    except Exception:  # there is no end to what a file may hold in place of a notebook
        raise NotChecked(f"{path} is no notebook: open it in JupyterLab and save it as .ipynb.") from None
    if not any(map(is_check, notebook.cells)):
        raise NotChecked(
            f"{path} has no check cells: is it another notebook, or has a program that saved it "
            "removed the cells' metadata?"
        )
    return notebook


class Screen:
    """What is printed, cell by cell, while a notebook runs."""

    def __init__(self) -> None:
        self.coloured = (
            sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
            and (sys.platform != "win32" or "WT_SESSION" in os.environ)  # older windows show the codes
        )
        self.passed: list[bool] = []  # of each check
        self.cell = ""  # the one that runs
        self.stopped: str | None = None  # the last cell that did, of those that are no check
        self.answered = False  # whether a cell has been reached that its author may write in

    def check(self, notebook: NotebookNode, folder: Path) -> int:
        """Run the notebook, with `folder` as its working folder; return the exit status, 0 or 1."""
        self.bar = tqdm(  # where somebody watches
            total=sum(cell.cell_type == "code" for cell in notebook.cells), desc="running your notebook",
            bar_format="{desc}: {n_fmt} of {total_fmt} cells, {elapsed}", disable=None, leave=False,
        )  # fmt: skip
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", allow_errors=True, shutdown_kernel="immediate",
            extra_arguments=["--HistoryManager.enabled=False"], resources={"metadata": {"path": str(folder)}},
            on_cell_start=self.on_cell_start, on_cell_executed=self.on_cell_executed,
        )  # fmt: skip
        # The set-up asks whether this name is there, a check what it says: this is no grade.
        environment = {**os.environ, "NBGRADER_EXECUTION": "check", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        try:
            with self.bar:
                client.execute(env=environment, stderr=subprocess.DEVNULL)
        except CellTimeoutError:
            self.say(False, f"{self.cell}: {SECONDS} s were not enough.", "Is there a loop that never ends?")
            return 1
        except DeadKernelError:
            self.say(False, f"{self.cell}: the kernel ended here (exit(), a crash, or too little memory).")
            return 1
        except SetUpFailed as reason:
            self.say(False, str(reason), "`autograder doctor` says what this machine lacks.")
            return 1
        right, every = sum(self.passed), len(self.passed)
        print(f"All {every} checks pass." if right == every else f"{right} of {every} checks pass.")
        return 0 if right == every else 1

    def on_cell_start(self, cell: NotebookNode, cell_index: int) -> None:
        self.cell = name_of(cell)

    def on_cell_executed(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        """Print what a check found, or what stopped a cell that a student wrote."""
        self.bar.update()
        errors = [o for o in cell.outputs if o.output_type == "error"]
        said = f"{errors[0].ename}: {errors[0].evalue}" if errors else None
        if is_check(cell):
            self.checked(cell, said)
            return
        nbgrader = cell.metadata.get("nbgrader")
        own = not (isinstance(nbgrader, dict) and nbgrader.get("locked"))
        self.answered = self.answered or own
        if said is None:
            return
        if not self.answered:
            raise SetUpFailed(f"{self.cell}, a cell of the set-up, stopped with {said}")
        self.stopped = self.cell
        if own and errors[0].ename == "NotImplementedError":
            self.say(False, f"{self.cell}: not written yet.")
        elif own:
            self.say(False, f"{self.cell} stopped with {said}")

    def checked(self, cell: NotebookNode, error: str | None) -> None:
        """Print what one check found."""
        found = [o.data[MIME_TYPE] for o in cell.outputs if MIME_TYPE in o.get("data", {})]
        self.passed.append(not error and not any(each["findings"] for each in found))
        if error and self.stopped:
            self.say(False, f"{self.cell} cannot be run, as {self.stopped} stopped.")
        elif error:
            self.say(False, f"{self.cell} stopped with {error}")
        elif not found:
            self.say(True, self.cell)
        for each in found if not error else ():
            findings = [Finding(**finding) for finding in each["findings"]]
            verdict = Verdict(each["check"], each["max_points"], findings, tried_on=each["tried_on"])
            head, *lines = str(verdict).splitlines()
            self.say(not findings, head, *lines)

    def say(self, right: bool, head: str, *lines: str) -> None:
        """Print a head with its sign, and lines below it; the sign's colour says nothing that it does not."""
        sign, colour = ("✓", GREEN) if right else ("✗", RED)
        width = min(shutil.get_terminal_size().columns, 100)
        head, *more = textwrap.wrap(f"{sign} {plain(head)}", width, subsequent_indent="  ")
        tqdm.write("", end="")  # takes the bar off the line
        print(f"\x1b[{colour}m{head}\x1b[0m" if self.coloured else head)
        for line in more:
            print(line)
        for line in lines:
            print(textwrap.fill(plain(line), width, initial_indent="    ", subsequent_indent="    "))
        sys.stdout.flush()


def name_of(cell: NotebookNode) -> str:
    nbgrader = cell.metadata.get("nbgrader")
    return str(nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None or "a cell of your own")


def plain(text: object) -> str:
    """Return text without what would steer a terminal: a notebook may be somebody else's."""
    return "".join(character if character.isprintable() else " " for character in str(text))
