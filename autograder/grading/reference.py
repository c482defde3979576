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
from ..records import OptimizerRecord, TrainingRecord, Trial
from .read import counts

SECONDS = 30  # that an answer may take; it takes a fifth of one
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


class Reference:
    """Answers what a right submission comes to.

    notebook: the solution, as nbformat reads it. The kernel starts with the first question.
    """

    def __init__(self, notebook, provisioner, config=None):
        self.notebook, self.provisioner, self.config = notebook, provisioner, config
        self.manager = None

    def optimizer(self, seed):
        """Return the OptimizerRecord of the solution's optimizer."""
        return self.ask(f"Evidence(collect_optimizer(optimizer, model, {seed!r}))", OptimizerRecord)

    def training(self, seed):
        """Return the TrainingRecord of the solution's training loop."""
        return self.ask(f"Evidence(collect_training(train_tinybert, {seed!r}, True))", TrainingRecord)

    def rerun(self, trial, number, seed):
        """Return the Trial of a loop that makes the calls which `trial` lists; see `grading.rerun`.

        Raises Malformed where that cannot be done, or not in time.
        """
        text = json.dumps(asdict(replace(trial, printed="", changes="", returned=None)))
        plan = f"draws.trials({seed!r})[{number}]"
        try:
            return self.ask(f"Evidence(rerun(read({text!r}, Trial), {plan}))", Trial)
        except (TimeoutError, Empty, RuntimeError):
            raise Malformed("the calls it lists cannot be made again") from None

    @cached_property
    def folder(self):
        return TemporaryDirectory(prefix="reference-", ignore_cleanup_errors=True)

    def start(self):
        """Start the kernel and run the solution's cells in it, up to its last answer in code."""
        self.manager = KernelManager(config=self.config)
        self.manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": self.provisioner}
        environment = {**os.environ, "NBGRADER_EXECUTION": "autograde", "OMP_NUM_THREADS": "1"}
        self.manager.start_kernel(cwd=self.folder.name, env=environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)
        cells = counts(self.notebook.cells)
        answers = [number for number, cell in enumerate(cells) if is_solution(cell)]
        for cell in cells[: answers[-1] + 1]:
            if not is_grade(cell):
                self.execute(cell.source)
        self.execute(Path(__file__).with_name("rerun.py").read_text())
        self.execute(READY)

    def ask(self, expression, kind):
        """Return the record of class `kind` that an expression shows in the kernel."""
        for attempt in range(ATTEMPTS):
            try:
                if self.manager is None or not self.manager.is_alive():
                    self.start()
                return read(self.execute(ASK.format(expression)), kind)
            except (TimeoutError, Empty):
                self.close()
                raise
            except RuntimeError:
                self.close()
                if attempt == ATTEMPTS - 1:
                    raise

    def execute(self, code):
        """Run code and return the evidence that it shows, or None. Raises RuntimeError if it fails."""
        shown = []
        reply = self.client.execute_interactive(
            code,
            timeout=SECONDS,
            store_history=False,  # or the kernel would keep every record it ever showed
            allow_stdin=False,
            output_hook=lambda message: shown.append(message["content"].get("data", {})),
        )
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"The solution fails: {reply['content'].get('evalue')}")
        return next((data[MIME_TYPE] for data in shown if MIME_TYPE in data), None)

    def close(self):
        """End the kernel."""
        if self.manager is not None:
            self.client.stop_channels()
            self.manager.shutdown_kernel(now=True)
            self.manager = None
