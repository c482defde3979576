"""Execute a submission to its end, whatever its code does to the kernel."""

import copy
import hmac
import os
import secrets
import shutil
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute as NbGraderExecute
from nbgrader.utils import is_grade
from traitlets import Bool, Integer, Unicode, default

from ..kernels.sandbox import remove
from .read import KEY, counts, grade_id

SEED = 'seed="secret"'  # as the hidden tests in the solution notebook have it
TIMED_OUT = ("CellTimeoutError", "KeyboardInterrupt")  # the latter where the cell heeds the interrupt


class Execute(NbGraderExecute):
    """nbgrader's Execute, which keeps what ran when a kernel dies or time runs out."""

    timeout = Integer(30, help="Seconds that one cell may take; the slowest needs two.").tag(config=True)
    notebook_timeout = Integer(120, help="Seconds that one notebook may take.").tag(config=True)
    max_output = Integer(200_000, help="Characters of output kept of one cell.").tag(config=True)
    attempts = Integer(5, help="How often to start again when a kernel is killed from outside.").tag(
        config=True
    )
    raise_on_iopub_timeout = Bool(
        False, help="A cell that floods the kernel's output must not cost the whole submission."
    ).tag(config=True)
    store_widget_state = False  # a progress bar's hundreds of states are of no use afterwards
    shutdown_kernel = "immediate"  # nobody needs what it would do at its end
    secret = Unicode(help="What the seeds of the hidden tests are derived from.").tag(config=True)
    provisioner_name = Unicode("warm", help="Kernel provisioner; 'local' starts kernels cold.").tag(
        config=True
    )

    @default("secret")
    def _secret_default(self):
        return read_secret()

    def reset_execution_trackers(self):
        """Have Output widgets find themselves, where nbclient looks for them whether stored or not."""
        super().reset_execution_trackers()
        self.widget_state = defaultdict(dict)

    def create_kernel_manager(self):
        """Return a kernel manager whose kernels start warm, whatever the kernelspec says."""
        manager = super().create_kernel_manager()
        self.manager = manager  # nbclient forgets it before its provisioner can be asked
        manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": self.provisioner_name}
        manager.client_class = "autograder.kernels.client.PromptClient"
        return manager

    def preprocess(self, nb, resources):
        """Execute the cells that count, in a copy of the notebook's folder that is then removed."""
        notes = nb.metadata.setdefault(KEY, {})
        if notes.get("unreadable"):
            return nb, resources
        sanitized = copy.deepcopy(nb.cells)
        for _ in range(self.attempts):
            nb, resources = self.attempt(nb, resources, notes)
            if not self.lost():
                break
            nb.cells = copy.deepcopy(sanitized)
        return nb, resources

    def attempt(self, nb, resources, notes):
        """Execute the notebook in a new kernel."""
        self.manager = None
        self.stopped = None  # why the rest cannot be run
        self.died = False  # the kernel, while it ran a cell
        self.late = None  # the cell where time ran out
        self.cut = []  # cells whose output was too long
        self.begun = monotonic()
        self.counting = {id(cell) for cell in counts(nb.cells)}
        folder = resources["metadata"]["path"]
        resources["seed"] = self.seed(nb, folder)
        try:
            with scratch_folder() as scratch:
                shutil.copytree(
                    folder, scratch, dirs_exist_ok=True, symlinks=True,
                    ignore=shutil.ignore_patterns("*.ipynb"),  # its outputs are no part of the answer
                )  # fmt: skip
                resources["metadata"]["path"] = scratch
                return super().preprocess(nb, resources)
        finally:
            resources["metadata"]["path"] = folder
            notes["seconds"] = round(monotonic() - self.begun, 2)
            notes["limits"] = self.limits()

    def lost(self):
        """Whether the kernel ended through no fault of the submission."""
        return self.died and self.ask("lost", False)

    def ask(self, question, otherwise):
        """Ask the kernel's provisioner, which may be another's, or not there yet."""
        answer = getattr(self.manager and self.manager.provisioner, question, None)
        return answer() if answer else otherwise

    def limits(self):
        """Return a sentence for each limit that was hit and each thing the sandbox refused."""
        said = [f"Time ran out in `{self.late}`."] if self.late else []
        said += [f"Output was cut in `{name}`." for name in self.cut]
        said += [self.stopped[0].upper() + self.stopped[1:] + "."] if self.stopped else []
        return said + [f"Refused: {line}" for line in self.ask("refused", [])]

    def preprocess_cell(self, cell, resources, index):
        """Execute one cell, or say why it was not executed."""
        if id(cell) not in self.counting:
            return cell, resources
        if self.stopped is None and monotonic() > self.begun + self.notebook_timeout:
            self.stopped = f"the notebook had used up its {self.notebook_timeout} seconds"
        if self.late and not is_grade(cell):
            # What the checks need has run by now; the rest would wait for the same loop again.
            cell.outputs = [error("NotRun", "This cell was not run: time ran out further up.")]
            return cell, resources
        if self.stopped:
            cell.outputs = [error("NotRun", f"This cell was not run: {self.stopped}.")]
            return cell, resources
        self.written = 0
        source = cell.source
        try:
            if is_grade(cell):  # until now the seed was nowhere the submission could have read it
                cell.source = source.replace(SEED, f"seed={resources['seed']}")
            cell, resources = super().preprocess_cell(cell, resources, index)
            if any(o.get("ename") in TIMED_OUT for o in cell.outputs):
                self.late = self.late or name_of(cell)
            return cell, resources
        except DeadKernelError:
            self.died = True
            self.stopped = f"the kernel had ended in or just before `{name_of(cell)}` (a crash or no memory)"
            cell.outputs.append(error("DeadKernelError", f"The kernel ended here: {self.stopped}."))
            return cell, resources
        finally:
            cell.source = source

    def seed(self, nb, folder):
        """Return the seed of the hidden tests: this submission's own, the same whenever it is graded."""
        digest = hmac.new(self.secret.encode(), digestmod="sha256")
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.suffix != ".ipynb":
                digest.update(f"{path.relative_to(folder)}\0".encode(errors="surrogateescape"))
                digest.update(path.read_bytes())
        digest.update("\0".join(cell.source for cell in nb.cells).encode(errors="surrogatepass"))
        return int(digest.hexdigest()[:12], 16)

    def on_cell_executed(self, cell, cell_index, execute_reply):
        """Stop at exit(): the kernel ends a moment after it, so the next cell may run or not."""
        super().on_cell_executed(cell=cell, cell_index=cell_index, execute_reply=execute_reply)
        payload = execute_reply["content"].get("payload", [])
        if any(isinstance(part, dict) and part.get("source") == "ask_exit" for part in payload):
            self.stopped = f"the kernel had ended in `{name_of(cell)}`, by exit() or quit()"

    def _get_timeout(self, cell):
        timeout = min(super()._get_timeout(cell), int(self.begun + self.notebook_timeout - monotonic()))
        # A check takes a second; after a time-out, a longer wait would be for the same loop.
        return max(1, min(timeout, 10) if self.late else timeout)

    def output(self, outs, msg, display_id, cell_index):
        """Keep an output message, up to max_output characters a cell."""
        size = len(str(msg["content"]))
        if self.written <= self.max_output < self.written + size:
            outs.append(new_output("stream", name="stdout", text="\n... output cut here ...\n"))
            self.cut.append(name_of(self.nb.cells[cell_index]))
        self.written += size
        if self.written > self.max_output and msg["msg_type"] == "stream":
            return None
        return super().output(outs, msg, display_id, cell_index)


def read_secret():
    """Return the course's secret; make one where there is none."""
    path = Path(".secret")  # nbgrader works in the course's root folder
    if not path.exists():
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex())
    return path.read_text()


@contextmanager
def scratch_folder():
    """Yield a temporary folder, which is removed afterwards, whatever is in it by then."""
    folder = mkdtemp(prefix="submission-")
    try:
        yield folder
    finally:
        remove(folder)


def name_of(cell):
    return grade_id(cell) or "an extra cell"


def error(name, sentence):
    """Return an error output that says `sentence`."""
    return new_output("error", ename=name, evalue=sentence, traceback=[f"{name}: {sentence}"])
