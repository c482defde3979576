"""Execute a submission to its end, whatever its code does to the kernel."""

from time import monotonic

from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute as NbGraderExecute
from nbgrader.utils import is_grade
from traitlets import Bool, Integer, Unicode

from .read import KEY, grade_id

TIMED_OUT = ("CellTimeoutError", "KeyboardInterrupt")  # the latter where the cell heeds the interrupt


class Execute(NbGraderExecute):
    """nbgrader's Execute, which keeps what ran when a kernel dies or time runs out."""

    timeout = Integer(30, help="Seconds that one cell may take; the slowest needs two.").tag(config=True)
    notebook_timeout = Integer(120, help="Seconds that one notebook may take.").tag(config=True)
    max_output = Integer(200_000, help="Characters of output kept of one cell.").tag(config=True)
    raise_on_iopub_timeout = Bool(
        False, help="A cell that floods the kernel's output must not cost the whole submission."
    ).tag(config=True)

    provisioner_name = Unicode("warm", help="Kernel provisioner; 'local' starts kernels cold.").tag(
        config=True
    )

    def create_kernel_manager(self):
        """Return a kernel manager whose kernels start warm, whatever the kernelspec says."""
        manager = super().create_kernel_manager()
        manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": self.provisioner_name}
        return manager

    def preprocess(self, nb, resources, km=None):
        """Execute the notebook, unless it stands for a file that could not be read."""
        if nb.metadata.get(KEY, {}).get("unreadable"):
            return nb, resources
        self.stopped = None  # why the rest cannot be run
        self.late = False
        self.deadline = monotonic() + self.notebook_timeout
        self.on_cell_executed = self.notice_exit
        return super().preprocess(nb, resources, km)

    def preprocess_cell(self, cell, resources, index):
        """Execute one cell, or say why it was not executed."""
        if cell.cell_type != "code":
            return cell, resources
        if self.stopped is None and monotonic() > self.deadline:
            self.stopped = f"the notebook had used up its {self.notebook_timeout} seconds"
        if self.late and not is_grade(cell):
            # What the checks need has run by now; the rest would wait for the same loop again.
            cell.outputs = [error("NotRun", "This cell was not run: time ran out further up.")]
            return cell, resources
        if self.stopped:
            cell.outputs = [error("NotRun", f"This cell was not run: {self.stopped}.")]
            return cell, resources
        self.written = 0
        try:
            cell, resources = super().preprocess_cell(cell, resources, index)
            self.late = self.late or any(o.get("ename") in TIMED_OUT for o in cell.outputs)
            return cell, resources
        except DeadKernelError:
            self.stopped = f"the kernel had ended in or just before `{name_of(cell)}` (a crash or no memory)"
            cell.outputs.append(error("DeadKernelError", f"The kernel ended here: {self.stopped}."))
            return cell, resources

    def notice_exit(self, cell, cell_index, execute_reply):
        """Stop at exit(): the kernel ends a moment after it, so the next cell may run or not."""
        payload = execute_reply["content"].get("payload", [])
        if any(part.get("source") == "ask_exit" for part in payload):
            self.stopped = f"the kernel had ended in `{name_of(cell)}`, by exit() or quit()"

    def _get_timeout(self, cell):
        # A check takes a second; after a time-out, a longer wait would be for the same loop.
        timeout = 10 if self.late else super()._get_timeout(cell)
        return max(1, min(timeout, int(self.deadline - monotonic())))

    def output(self, outs, msg, display_id, cell_index):
        """Keep an output message, up to max_output characters a cell."""
        size = len(str(msg["content"]))
        if self.written <= self.max_output < self.written + size:
            outs.append(new_output("stream", name="stdout", text="\n... output cut here ...\n"))
        self.written += size
        if self.written > self.max_output and msg["msg_type"] == "stream":
            return None
        return super().output(outs, msg, display_id, cell_index)


def name_of(cell):
    return grade_id(cell) or "an extra cell"


def error(name, sentence):
    """Return an error output that says `sentence`."""
    return new_output("error", ename=name, evalue=sentence, traceback=[f"{name}: {sentence}"])
