"""The solution's own functions, at work in a kernel that no student's code has touched."""

import json
import os
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory

from jupyter_client.manager import KernelManager
from nbgrader.utils import is_grade, is_solution

from ..evidence import MIME_TYPE, Malformed, read
from ..kernels.client import waits_of
from ..kernels.clock import PATIENCE, Clock
from ..records import OptimizerRecord, TrainingRecord, Trial
from .execute import no_students_doing, provisioner
from .faults import InstallationFault
from .read import counts
from .setup import named, setup

SECONDS = 30  # that an answer may take, waits for a processor left out; it takes a fifth of one
ATTEMPTS = 5  # a kernel may be killed from outside, like any other

# A probe is a cycle of objects, large ones: waiting for Python to look for such would fill the memory.
READY = "import gc; gc.collect(); gc.freeze()"
ASK = """
gc.collect()
from autograder import draws
from autograder.collect import collect_optimizer, collect_training
from autograder.evidence import Evidence, read
from autograder.records import Trial
{}
"""


class Failed(Exception):
    """Code that was sent to the reference kernel fails, or takes too long."""


class Reference:
    """Answers what a right submission comes to.

    notebook: the solution, as nbformat reads it. The kernel starts with the first question. What goes
    wrong is an InstallationFault, but for `rerun`.
    """

    def __init__(self, notebook, provisioner, config=None):
        self.notebook, self.provisioner, self.config = notebook, provisioner, config
        self.manager = self.client = None

    def optimizer(self, seed):
        """Return the OptimizerRecord of the solution's optimizer."""
        with no_students_doing("The solution's optimizer cannot be looked at"):
            return self.ask(f"Evidence(collect_optimizer(optimizer, model, {seed!r}))", OptimizerRecord)

    def training(self, seed):
        """Return the TrainingRecord of the solution's training loop."""
        with no_students_doing("The solution's training loop cannot be run"):
            return self.ask(f"Evidence(collect_training(train_tinybert, {seed!r}, True))", TrainingRecord)

    def rerun(self, trial, number, seed):
        """Return the Trial of a loop that makes the calls which `trial` lists; see `grading.rerun`.

        Raises Malformed where that cannot be done, or not in time.
        """
        text = json.dumps(asdict(replace(trial, printed="", changes="", returned=None)))
        plan = f"draws.trials({seed!r})[{number}]"
        try:
            return self.ask(f"Evidence(rerun(read({text!r}, Trial), {plan}))", Trial)
        except Failed:
            raise Malformed("the calls it lists cannot be made again") from None

    @cached_property
    def folder(self):
        return TemporaryDirectory(prefix="reference-", ignore_cleanup_errors=True)

    def start(self):
        """Start the kernel and run the solution's cells in it, up to its last answer in code."""
        cells = counts(self.notebook.cells)
        answers = [number for number, cell in enumerate(cells) if is_solution(cell)]
        shared = setup(self.notebook.cells)
        self.manager = KernelManager(config=self.config)
        self.manager.kernel_spec.metadata["kernel_provisioner"] = provisioner(
            self.provisioner, named(shared), SECONDS
        )
        environment = {**os.environ, "NBGRADER_EXECUTION": "autograde", "OMP_NUM_THREADS": "1"}
        self.manager.start_kernel(cwd=self.folder.name, env=environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE * SECONDS)
        done = len(getattr(self.manager.provisioner, "shown", ()))
        for cell in cells[done : answers[-1] + 1]:
            if not is_grade(cell):
                self.execute(cell.source)
        self.execute(Path(__file__).with_name("rerun.py").read_text())
        self.execute(READY)

    def ask(self, expression, kind):
        """Return the record of class `kind` that an expression shows in the kernel.

        Raises Failed, and InstallationFault where there is no kernel to be had.
        """
        for attempt in range(ATTEMPTS):
            try:
                if self.manager is None or not self.manager.is_alive():
                    with no_students_doing("The solution cannot be run"):
                        self.start()
                return read(self.execute(ASK.format(expression)), kind)
            except (Failed, InstallationFault):
                killed = self.manager.has_kernel and not self.manager.is_alive()
                self.close()
                if not killed or attempt == ATTEMPTS - 1:
                    raise

    def execute(self, code):
        """Run code and return the evidence that it shows, or None. Raises Failed."""
        # Without history, or the kernel would keep every record it ever showed.
        request = self.client.execute(code, store_history=False, allow_stdin=False)
        clock, shown = Clock(waits_of(self.manager)), None
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                if not self.manager.is_alive():
                    raise Failed("The kernel has ended.") from None
                if clock.used() > SECONDS:
                    raise Failed(f"It takes more than {SECONDS} seconds.") from None
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "error":
                raise Failed(f"{content['ename']}: {content['evalue']}")
            if content.get("execution_state") == "idle":
                return shown
            shown = content.get("data", {}).get(MIME_TYPE, shown)

    def close(self):
        """End the kernel."""
        if self.client is not None:
            self.client.stop_channels()
        if self.manager is not None:
            self.manager.shutdown_kernel(now=True)
        self.manager = self.client = None
