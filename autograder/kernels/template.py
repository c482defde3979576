"""A template: a fork of the server that has run a notebook's set-up, for kernels to be forked from.

What runs here is the instructor's own code, once, outside the sandbox; the kernels are locked in as all
others are. The shell is made before the fork, the kernel around it afterwards: so names, tracebacks,
`In`, classes of `__main__` and registered callbacks are as they would be had the kernel run the cells.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import sandbox

if TYPE_CHECKING:
    from ipykernel.kernelapp import IPKernelApp
    from jupyter_client.session import Session

ENDING = 5  # seconds that threads may take to end when the cells have run
OWN = {"HOME", "TMPDIR", "TOKENIZERS_PARALLELISM"}  # environment variables that each process has its own of

Cells = Sequence[Sequence[str]]  # [name, source] of each


class NotShared(Exception):
    """These cells must be run in each kernel anew; its text says why."""


@dataclass
class Prepared:
    """What the cells left behind; without a shell if kernels are to start without them."""

    shell: Any = None  # ZMQInteractiveShell
    streams: list[Any] = field(default_factory=list)  # each a Stream
    environment: dict[str, str | None] = field(default_factory=dict)  # that the cells changed; None: removed
    random_state: tuple[Any, ...] = ()  # Python's own: a fork draws it anew, a starting kernel draws from it

    def hand_over(self, app: IPKernelApp) -> None:
        """Make the shell that of the kernel `app`, in a process forked from this one."""
        for stream, own in zip(self.streams, (sys.stdout, sys.stderr)):
            stream.write, stream.flush = own.write, own.flush
        for name, value in self.environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        self.shell.events.register("pre_execute", self.restore_random_state)
        self.shell.parent = self.shell.kernel = app.kernel
        self.shell.profile_dir = app.profile_dir
        self.shell.update_config(app.config)

    def restore_random_state(self) -> None:
        """Before the first cell that the kernel runs itself."""
        self.shell.events.unregister("pre_execute", self.restore_random_state)
        random.setstate(self.random_state)


def prepare(cells: Cells, env: dict[str, str], cwd: str, seconds: float, report: int, home: str) -> Prepared:
    """Run `cells` and return what they left.

    env, cwd, home: as a kernel finds them. seconds: of processor time that a cell may take, and ten
    times as many on the clock. report: a file that then holds one of {"shown": [[message type, content]
    of each cell]}, {"cold": why they are not shared}, {"failed": [name, why]}, {"running": name}.
    Where a cell fails, this process ends.
    """
    try:
        return run(cells, env, cwd, seconds, report, home)
    except NotShared as reason:
        write(report, cold=str(reason))
        return Prepared()


def run(cells: Cells, env: dict[str, str], cwd: str, seconds: float, report: int, home: str) -> Prepared:
    """As `prepare`. Raises NotShared."""
    from ipykernel.compiler import XCachingCompiler
    from ipykernel.zmqshell import ZMQInteractiveShell
    from IPython.core.interactiveshell import InteractiveShell
    from jupyter_client.session import Session
    from traitlets.config import Config

    class Recorder(Session):
        """In place of a connection to a client."""

        def send(self, stream: Any, msg_or_type: Any, content: Any = None, *_: Any, **__: Any) -> None:
            if isinstance(msg_or_type, dict):
                msg_or_type, content = msg_or_type["header"]["msg_type"], msg_or_type["content"]
            shown[-1].append([msg_or_type, content])

    for name, source in cells:
        try:
            compile(source, name, "exec", dont_inherit=True)
        except SyntaxError:  # a magic, a command, a top-level await
            raise NotShared(f"`{name}` is more than plain Python") from None
    os.mkdir(home)
    os.environ.clear()
    # A fork copies one thread only, so there may be no other.
    os.environ.update(env, HOME=home, TMPDIR=home, TOKENIZERS_PARALLELISM="false")
    tempfile.tempdir = None
    os.chdir(cwd)
    here = os.getcwd()  # without links
    sys.path.append("")  # as a kernel has it: modules beside the notebook
    reseed()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    shown: list[list[list[Any]]] = []
    InteractiveShell.clear_instance()
    shell: Any = ZMQInteractiveShell.instance(
        config=Config({"HistoryManager": {"enabled": False}}), compiler_class=XCachingCompiler
    )
    know_shell()
    shell.displayhook.session = shell.display_pub.session = session = Recorder()
    shell.displayhook.pub_socket = shell.display_pub.pub_socket = object()
    streams: list[Any] = [Stream("stdout", session), Stream("stderr", session)]
    environment, files = dict(os.environ), left(cwd, home)
    before, (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), streams
    for name, source in cells:
        write(report, running=name)
        shown.append([])
        signal.setitimer(signal.ITIMER_PROF, seconds)  # no handler: they end the process
        signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
        result = shell.run_cell(source, store_history=True)
        for stream in streams:
            stream.flush()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if error := result.error_before_exec or result.error_in_exec:
            write(report, failed=[name, f"{type(error).__name__}: {error}"])
            os._exit(0)
    sys.stdout, sys.stderr = before
    # Those of an executor that was shut down, as loading a model uses one, are gone in a moment.
    until = time.monotonic() + ENDING
    while threading.active_count() > 1 and time.monotonic() < until:
        time.sleep(0.02)
    if threading.active_count() > 1 or torch and torch.get_num_threads() > 1:
        raise NotShared("the cells start threads")
    gc.collect()
    if left(cwd, home) != files:
        raise NotShared("the cells leave files, written or open, or change the folder")
    files_of = (getattr(module, "__file__", None) or "" for module in list(sys.modules.values()))
    if any(path.startswith((cwd, here)) for path in files_of):
        raise NotShared("the cells import modules from the folder they ran in")
    paths = (str(value) for value in shell.user_ns.values() if isinstance(value, (str, os.PathLike)))
    if any(path.startswith((cwd, home)) for path in paths):
        raise NotShared("the cells remember the folder they ran in")
    gc.freeze()
    write(report, shown=shown)
    changed = {
        name: os.environ.get(name)
        for name in (environment | os.environ).keys() - OWN
        if os.environ.get(name) != environment.get(name)
    }
    return Prepared(shell, streams, changed, random.getstate())


def left(*folders: str) -> tuple[tuple[int, int, bool], str, int]:
    """Return what is in the folders, the current one, and how many files are open: a kernel has its own."""
    return sandbox.content(folders), os.getcwd(), len(os.listdir("/proc/self/fd"))


class Stream(io.TextIOBase):
    """What cells print to; in a kernel it is a name for the kernel's own stream."""

    def __init__(self, name: str, session: Session) -> None:
        self.name, self.session, self.text = name, session, ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        if self.text:
            self.session.send(None, "stream", {"name": self.name, "text": self.text})
            self.text = ""


def write(report: int, **said: object) -> None:
    """Replace what stands in the file."""
    os.ftruncate(report, 0)
    os.pwrite(report, json.dumps(said).encode(), 0)


def know_shell() -> None:
    """Have matplotlib find IPython, which was not there when it was imported: else figures are neither shown
    nor closed at a cell's end."""
    if inline := sys.modules.get("matplotlib_inline.backend_inline"):
        with suppress(AttributeError):  # another version of it
            inline._enable_matplotlib_integration()


def reseed() -> None:
    """Draw new random states: a fork starts with its parent's, the same for every kernel."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()
