"""Execute a submission to its end, whatever its code does to the kernel."""

import copy
import hmac
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp, mkstemp
from time import monotonic
from typing import Any

from jupyter_client.client import KernelClient
from jupyter_client.manager import KernelManager
from nbclient.exceptions import CellExecutionComplete, DeadKernelError
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute as NbGraderExecute
from nbgrader.utils import is_grade
from traitlets import Bool, Float, Integer, Unicode, default

from .. import evidence
from ..cells import counts
from ..kernels.clock import Clock
from ..kernels.messages import Message, well_formed
from ..kernels.provisioner import SetupFailed
from ..kernels.sandbox import remove
from ..lessons import KEY, lesson_of
from .faults import InstallationFault
from .read import Processed, grade_id
from .setup import digest, files_in, named, setup
from .submissions import remark

SEED = 'seed="secret"'  # as the hidden tests in the solution notebook have it
PACKER = "--Session.packer=autograder.kernels.messages.pack"  # half characters stop the kernel's usual one
# What somebody shows of an output: in Formgrader, in feedback, in a notebook.
SHOWN = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg", "image/svg+xml")
FRAME = {"text": 40, "display": 500}  # characters that an output of each kind counts for beside its own
DECIDING = 100  # characters kept of what decides a grade where there is no room for more
TIMED_OUT = ("CellTimeoutError", "KeyboardInterrupt")  # the latter where the cell heeds the interrupt


class Execute(NbGraderExecute):
    """nbgrader's Execute, which keeps what ran when a kernel dies or time runs out."""

    # Both without the time that a kernel waits for a processor, see `kernels.clock`.
    timeout = Float(30, help="Seconds that one cell may take; the slowest needs two.").tag(config=True)
    notebook_timeout = Float(120, help="Seconds that one notebook may take.").tag(config=True)
    iopub_timeout = Integer(10, help="Seconds to wait for outputs when a cell has ended.").tag(config=True)
    max_output = Integer(200_000, help="Characters of text kept of one cell.").tag(config=True)
    max_display = Integer(2_000_000, help="Characters of figures and such kept of one cell.").tag(config=True)
    attempts = Integer(5, help="How often to start again when a kernel is killed from outside.").tag(
        config=True
    )
    raise_on_iopub_timeout = Bool(
        False, help="A cell that floods the kernel's output must not cost the whole submission."
    ).tag(config=True)
    store_widget_state = False  # a progress bar's hundreds of states are of no use afterwards
    shutdown_kernel = "immediate"  # nobody needs what it would do at its end
    prepared = Unicode(
        help="Digest of the solution's set-up, see `grading.setup`: submissions that have the same start "
        "behind it. Without it each runs the cells."
    ).tag(config=True)
    secret = Unicode(help="What the seeds of the hidden tests are derived from.").tag(config=True)
    provisioner_name = Unicode(
        "warm", help="Kernel provisioner; 'local-provisioner' starts kernels cold and without a sandbox."
    ).tag(config=True)

    extra_arguments: list[str]
    manager: KernelManager | None

    @default("secret")
    def _secret_default(self) -> str:
        return read_secret()

    def __call__(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Refuse --no-execute: without evidence, each test cell would be worth nothing."""
        if not self.enabled:
            raise InstallationFault("--no-execute cannot be used: grades come from running the notebook.")
        return super().__call__(nb, resources)

    def create_kernel_manager(self) -> KernelManager:
        """Return a kernel manager whose kernels start warm, whatever the kernelspec says."""
        manager = super().create_kernel_manager()
        self.manager = manager  # nbclient forgets it before its provisioner can be asked
        manager.kernel_spec.metadata["kernel_provisioner"] = provisioner(
            self.provisioner_name,
            setup=named(self.setup) if self.shared else [],
            setup_seconds=self.timeout,
            files=list(self.lesson.files),
        )
        manager.client_class = "autograder.kernels.client.PromptClient"
        if manager.ipykernel and PACKER not in self.extra_arguments:
            self.extra_arguments = [*self.extra_arguments, PACKER]
        return manager

    def start_new_kernel(self, **how: Any) -> None:
        with no_students_doing("The kernel could not be started"):
            super().start_new_kernel(**how)

    def start_new_kernel_client(self) -> KernelClient:
        with no_students_doing("The kernel does not answer"):
            return super().start_new_kernel_client()

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Execute the cells that count, in a copy of the notebook's folder that is then removed.

        Where the kernel is killed from outside again and again, what had run by then counts, and the
        submission is graded again the next time. Raises InstallationFault where it fails before any of the
        student's code has run.
        """
        notes = nb.metadata.setdefault(KEY, {})
        sanitized, used = copy.deepcopy(nb.cells), 0.0
        for attempt in range(1, self.attempts + 1):
            nb, resources = self.attempt(nb, resources, notes)
            used += self.clock.used()
            if not self.lost():
                break
            if attempt == self.attempts or used > self.notebook_timeout:
                said = (
                    f"Its kernel was killed from outside {attempt} times: is there too little memory? "
                    "What had run by then counts; the next `autograder grade` tries again."
                )
                remark(nb, [said])
                notes |= {"key": "", "ran": ""}
                break
            nb.cells = copy.deepcopy(sanitized)
        if self.fault:
            raise self.fault
        return nb, resources

    def attempt(self, nb: NotebookNode, resources: ResourcesDict, notes: dict[str, Any]) -> Processed:
        """Execute the notebook in a new kernel."""
        self.manager = None
        self.stopped: str | None = None  # why the rest cannot be run
        self.died = False  # the kernel, while it ran a cell
        self.late: str | None = None  # the cell where time ran out
        self.cut: list[str] = []  # cells whose output was too long
        self.fault: InstallationFault | None = None  # what is not the student's doing
        self.clock, begun = Clock(lambda: self.ask("waits", {})), monotonic()
        self.counting = {id(cell) for cell in counts(nb.cells)}
        folder = resources["metadata"]["path"]
        self.lesson = lesson_of(nb)
        self.setup = setup(nb.cells)
        self.shared = self.is_shared(nb, folder)
        resources["seed"] = seed(self.secret)
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
            notes["seconds"] = round(monotonic() - begun, 2)
            notes["limits"] = self.limits()
            notes["sandbox"] = bool(walls := self.ask("walls", []))
            notes["walls"] = walls

    def is_shared(self, nb: NotebookNode, folder: str) -> bool:
        """Whether the notebook's set-up, and the files beside it, are those of the solution."""
        try:
            return bool(self.prepared) and digest(nb, files_in(folder)) == self.prepared
        except OSError:
            return False

    def lost(self) -> bool:
        """Whether the kernel ended through no fault of the submission."""
        return self.died and self.ask("lost", False)

    def ask(self, question: str, otherwise: Any) -> Any:
        """Ask the kernel's provisioner, which may be another's, or not there yet."""
        answer = getattr(self.manager and self.manager.provisioner, question, None)
        return answer() if answer else otherwise

    def limits(self) -> list[str]:
        """Return a sentence for each limit that was hit and each thing the sandbox refused."""
        said = [f"Time ran out in `{self.late}`."] if self.late else []
        said += [f"Output was cut in `{name}`." for name in self.cut]
        said += [self.stopped[0].upper() + self.stopped[1:] + "."] if self.stopped else []
        return said + [f"Refused: {line}" for line in self.ask("refused", [])]

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, index: int) -> Processed:
        """Execute one cell, or say why it was not executed."""
        if id(cell) not in self.counting:
            return cell, resources
        if self.stopped is None and self.clock.used() > self.notebook_timeout:
            self.stopped = f"the notebook had used up its {self.notebook_timeout:g} seconds"
        if self.late and not is_grade(cell) and self.lesson.checks:
            # What a lesson's checks need has run by now; the rest would wait for the same loop again. In
            # other notebooks, what comes may be the answer to another question.
            cell.outputs = [error("NotRun", "This cell was not run: time ran out further up.")]
            return cell, resources
        if self.stopped:
            cell.outputs = [error("NotRun", f"This cell was not run: {self.stopped}.")]
            return cell, resources
        self.full, self.written = False, dict.fromkeys(("text", "display", "evidence", "deciding"), 0)
        place = next((k for k, other in enumerate(self.setup) if other is cell), None)
        shown = getattr(self.manager and self.manager.provisioner, "shown", ())
        if place is not None and place < len(shown):
            return self.fill(cell, index, place + 1, shown[place]), resources
        source = cell.source
        try:
            if is_grade(cell):  # until now the seed was nowhere the submission could have read it
                cell.source = source.replace(SEED, f"seed={resources['seed']}")
            cell, resources = super().preprocess_cell(cell, resources, index)
            if any(o.get("ename") in TIMED_OUT for o in cell.outputs):
                self.late = self.late or name_of(cell)
            failed = [o for o in cell.outputs if o.output_type == "error"] if place is not None else []
            if failed:
                self.fault = fault(name_of(cell), f"{failed[0].ename}: {failed[0].evalue}")
                self.stopped = "the set-up failed"
            return cell, resources
        except DeadKernelError:
            self.died = True
            self.stopped = f"the kernel had ended in or just before `{name_of(cell)}` (a crash or no memory)"
            cell.outputs.append(error("DeadKernelError", f"The kernel ended here: {self.stopped}."))
            if place is not None:
                self.fault = fault(name_of(cell), self.stopped)
            return cell, resources
        finally:
            cell.source = source

    def fill(self, cell: NotebookNode, index: int, count: int, shown: Sequence[Any]) -> NotebookNode:
        """Return a cell of the set-up as if it had been executed here, from the messages it sent."""
        cell.outputs, cell.execution_count, self.clear_before_next_output = [], count, False
        for kind, content in shown:
            header = {"msg_type": kind}
            message = {"msg_type": kind, "header": header, "parent_header": {}, "content": content}
            if formed := well_formed(message):
                self.process_message(formed, cell, index)
        return cell

    def on_cell_executed(self, cell: NotebookNode, cell_index: int, execute_reply: Message) -> None:
        """Stop at exit(): the kernel ends a moment after it, so the next cell may run or not."""
        super().on_cell_executed(cell=cell, cell_index=cell_index, execute_reply=execute_reply)
        payload = execute_reply["content"].get("payload", [])
        if any(isinstance(part, dict) and part.get("source") == "ask_exit" for part in payload):
            self.stopped = f"the kernel had ended in `{name_of(cell)}`, by exit() or quit()"

    def _get_timeout(self, cell: NotebookNode | None) -> float:
        left = max(1, self.notebook_timeout - self.clock.used())
        timeout = min(super()._get_timeout(cell) or left, left)
        # A check takes a second; after a time-out, a longer wait would be for the same loop.
        return min(timeout, 10) if self.late else timeout

    def process_message(self, msg: Message, cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Heed a message of the kernel's, and drop what is shown beyond the limits of a cell."""
        if not self.fits(msg, cell):
            return None
        try:
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception as reason:  # well formed, and yet it does not fit in with the ones before
            self.log.debug("Passed over %s: %r", msg["msg_type"], reason)
            return None

    def fits(self, msg: Message, cell: NotebookNode) -> bool:
        """Whether there is room for what a message shows; reduces it to what somebody looks at."""
        kind, content = msg["msg_type"], msg["content"]
        if kind in ("status", "execute_input", "clear_output"):
            return True
        data = content.get("data", {})
        found = data.get(evidence.MIME_TYPE) if is_grade(cell) else None
        if found is not None:
            content["data"] = {"text/plain": "evidence", evidence.MIME_TYPE: found}
            return self.takes("evidence", len(found), evidence.LARGEST)
        if data:
            content["data"] = {mime: data[mime] for mime in SHOWN if mime in data}
        texts = *content.get("data", {}).values(), content.get("text", ""), *content.get("traceback", ())
        sort, most = ("text", self.max_output) if kind == "stream" else ("display", self.max_display)
        if not self.full:
            if self.takes(sort, FRAME[sort] + sum(map(len, texts)), most):
                return True
            self.full = True
            cell.outputs.append(new_output("stream", name="stdout", text="\n... output cut here ...\n"))
            self.cut.append(name_of(cell))
        return is_grade(cell) and self.decides(kind, content)

    def decides(self, kind: str, content: dict[str, Any]) -> bool:
        """Whether nbgrader grades a test cell by a message: a number, or anything on standard error. If so,
        leave no more of it than that takes. Errors come with the reply, too."""
        if kind == "execute_result":
            content["data"] = {"text/plain": str(content.get("data", {}).get("text/plain", ""))[:DECIDING]}
        elif kind == "stream" and content.get("name") == "stderr":
            content["text"] = content.get("text", "")[:DECIDING]
        else:
            return False
        return self.takes("deciding", DECIDING, 10 * DECIDING)

    def takes(self, kind: str, size: int, most: int) -> bool:
        """Whether a cell may show so much more of one kind; if so, count it."""
        fits = self.written[kind] + size <= most
        self.written[kind] += size * fits
        return fits


def seed(secret: str) -> int:
    """Return the seed of the hidden tests: one for a course, so that all students meet the same probes."""
    return int(hmac.new(secret.encode(), b"hidden tests", "sha256").hexdigest()[:12], 16)


def read_secret() -> str:
    """Return the course's secret; make one where there is none. Raises InstallationFault."""
    path = Path(".secret")  # nbgrader works in the course's root folder
    try:
        if not path.exists() or not path.stat().st_size:
            descriptor, made = mkstemp(prefix=".secret-", dir=".")  # which only its owner may read
            with open(descriptor, "w") as file:
                file.write(secrets.token_hex())
            os.replace(made, path)
        return path.read_text()
    except PermissionError as error:
        raise InstallationFault(
            f"{path.absolute()} cannot be read or made ({error.strerror}): who grades needs the right to."
        ) from None


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a temporary folder, which is removed afterwards, whatever is in it by then."""
    folder = mkdtemp(prefix="submission-")
    try:
        yield folder
    finally:
        remove(folder)


def provisioner(name: str, **how: Any) -> dict[str, Any]:
    """Return the entry in a kernelspec's metadata for kernels of a provisioner; how: traits of a warm one."""
    return {"provisioner_name": name, "config": {"temporary": True, **how} if name == "warm" else {}}


@contextmanager
def no_students_doing(what: str) -> Iterator[None]:
    """Raise InstallationFault for whatever goes wrong."""
    try:
        yield
    except InstallationFault:
        raise
    except SetupFailed as failed:
        raise fault(failed.cell, failed.reason) from None
    except Exception as reason:
        raise InstallationFault(f"{what}: {type(reason).__name__}: {reason}") from reason


def fault(cell: str, reason: str) -> InstallationFault:
    """Return the InstallationFault for a set-up cell that fails."""
    return InstallationFault(f"`{cell}` failed before any of the student's code ran: {reason}")


def name_of(cell: NotebookNode) -> str:
    return grade_id(cell) or "an extra cell"


def error(name: str, sentence: str) -> NotebookNode:
    """Return an error output that says `sentence`."""
    return new_output("error", ename=name, evalue=sentence, traceback=[f"{name}: {sentence}"])
