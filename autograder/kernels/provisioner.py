"""A kernel provisioner whose kernels start warm and locked in.

Warm: they have imported the lesson's libraries before they start. Locked in: see `sandbox`. Any
Jupyter client can use it, by the name `warm`, in a kernelspec's metadata or as
JUPYTER_DEFAULT_PROVISIONER_NAME; see "Customizing the kernel's runtime environment" in the
documentation of jupyter_client.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Bool, Float, Integer, List, Unicode, default

from ..lessons import installed
from . import journal, sandbox
from .clock import RAN
from .server import KILLED, Request

SHARED = "AUTOGRADER_FORK_SERVER"  # environment variable: path of a server's socket


class NoSandbox(RuntimeError):
    """A sandbox is required and this machine or this kernel cannot have one."""


class SetupFailed(RuntimeError):
    """A cell of the set-up that kernels share does not run."""

    def __init__(self, cell: str, reason: str) -> None:
        super().__init__(f"`{cell}` failed: {reason}")
        self.cell, self.reason = cell, reason


class WarmProvisioner(LocalProvisioner):
    """Start IPython kernels as forks of a warm server, one server for each client process.

    A kernel may write to the folder it is started in and to a temporary home of its own, and read
    those, `readable`, and Python's and the system's libraries. Other kernels, and all kernels
    where there is no Landlock (macOS, Windows, Linux before 6.2), start as usual, after a warning.
    """

    preload = List(
        Unicode(),
        default_value=[
            "ipykernel.kernelapp",
            "ipykernel.debugger",
            "IPython.core.completerlib",
            "IPython.core.debugger",
            "IPython.core.logger",
            "IPython.core.oinspect",
            "IPython.extensions.storemagic",
            "pyseccomp",
            "sqlite3",
            "tornado.platform.asyncio",
        ],
        help="Modules that a kernel finds imported, beside those of the installed lessons.",
    ).tag(config=True)
    require_sandbox = Bool(
        False, help="Refuse to start a kernel that would not be locked in, in place of a warning."
    ).tag(config=True)
    readable = List(Unicode(), help="Files and folders that kernels may read.").tag(config=True)
    files = List(Unicode(), help="More of them: those of a notebook's lesson.").tag(config=True)
    memory = Integer(4 * 2**30, help="Bytes a kernel may allocate beyond what it has at its start.").tag(
        config=True
    )
    disk = Integer(256 * 2**20, help="Bytes a kernel may write to its folder and its home.").tag(config=True)
    threads = Integer(256, help="Threads a kernel may have.").tag(config=True)
    processes = Bool(
        False, help="Whether a kernel may start processes; whatever it starts ends with it."
    ).tag(config=True)
    namespaces = Bool(
        True,
        help="Whether a kernel gets a file system, processes and a network of its own where that can be.",
    ).tag(config=True)
    temporary = Bool(
        False,
        help="Whether the folder a kernel is started in goes when its client is gone. What a kernel in "
        "namespaces writes there, nobody else sees.",
    ).tag(config=True)
    setup: List[Any] = List(
        help="Cells, [[name, source], ...], run once outside the sandbox: kernels are forked from there."
    ).tag(config=True)
    setup_seconds = Float(30, help="Seconds of processor time that each of these cells may take.").tag(
        config=True
    )
    environment = List(
        Unicode(),
        default_value=[
            "PATH", "PYTHON*", "LANG", "LC_*", "TZ", "TERM", "VIRTUAL_ENV", "MPLBACKEND", "NBGRADER_*",
            "LESSON_*", "JPY_*", "IPYKERNEL_*", "PYDEVD_*", "OMP_*", "MKL_*", "TORCH_*",
        ],
        help="Environment variables, as patterns, that a kernel gets to see: the others may be secrets.",
    ).tag(config=True)  # fmt: skip

    parent: Any  # the kernel's manager
    process: Any  # a Popen, or a ForkedKernel in its place
    server: ForkServer | None = None  # shared by all provisioners of this process
    warned = False
    lock = threading.Lock()
    scratch: str | None = None
    shown: Sequence[Any] = ()  # what the set-up cells have shown: [[message type, content], ...] of each
    forked: ForkedKernel | None = None  # the kernel, also when LocalProvisioner has let go of its process

    @default("readable")
    def _readable_default(self) -> list[str]:
        package = Path(__file__).parent.parent
        # Not the grading side, and not the answers in data/sample_class.
        parts = [path for path in package.iterdir() if path.name not in ("grading", "data")]
        return [*map(str, parts), *(path for lesson in installed() for path in lesson.files)]

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Prepare a launch; a sandboxed kernel talks over sockets in a folder of its own."""
        why = sandbox.missing()
        if self.kernel_spec.argv[1:3] != ["-m", "ipykernel_launcher"]:
            why = "it is for Python kernels only"
        if why is None:
            # No longer than a socket's path may be, and every kernel's own.
            self.scratch = tempfile.mkdtemp(prefix="kernel-")
            self.parent.transport, self.parent.ip = "ipc", f"{self.scratch}/socket"
            self.parent.connection_file = f"{self.scratch}/connection.json"
        elif self.require_sandbox:
            raise NoSandbox(f"This kernel would not be sandboxed, because {why}.")
        elif not WarmProvisioner.warned:
            WarmProvisioner.warned = True
            self.log.warning(
                "No sandbox, because %s: the code that runs can read, change and send whatever you can.", why
            )
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork the kernel that `cmd` describes; return its connection info."""
        if self.scratch is None:
            return await super().launch_kernel(cmd, **kwargs)
        cwd = os.path.realpath(kwargs.get("cwd") or os.getcwd())
        home = f"{self.scratch}/home"
        for folder in (home, f"{self.scratch}/root"):
            os.mkdir(folder)
        request = {
            "argv": cmd[2:],
            "env": self.visible(kwargs["env"]) | {"HOME": home, "TMPDIR": home, "HF_HUB_OFFLINE": "1"},
            "cwd": cwd,
            "temporary": [self.scratch, *[cwd] * self.temporary],
            "limits": asdict(
                sandbox.Limits(
                    [*self.readable, *self.files],
                    [] if self.temporary else [cwd],
                    [home, cwd] if self.temporary else [home],
                    self.scratch,
                    self.memory,
                    self.disk,
                    self.threads,
                    self.processes,
                    self.namespaces,
                )
            ),
        }
        # Not in a thread of the event loop's: a process forked from this one would have the loop
        # and not the threads, and wait for them. It takes hundredths of a second.
        try:
            self.process = self.forked = self.fork(request)
        except RuntimeError:
            await self.cleanup()
            raise
        self.pid = self.pgid = self.process.pid  # the kernel leads a session of its own
        return self.connection_info

    def visible(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of `env` that a kernel gets to see."""
        return {name: env[name] for name in env if any(fnmatch(name, known) for known in self.environment)}

    def fork(self, request: Request) -> ForkedKernel:
        """Return a kernel, from a new server where there is none or the last one died."""
        with self.lock:
            server = WarmProvisioner.server
            if server is None or not server.alive():
                server = WarmProvisioner.server = self.find_server()
            if self.setup and (kernel := self.fork_template(server, request)):
                return kernel
            return cast(ForkedKernel, server.fork(request))

    def fork_template(self, server: ForkServer, request: Request) -> ForkedKernel | None:
        """Return a kernel in which the set-up cells have been run, None if it is not to be had."""
        own = {"HOME", "TMPDIR"}
        env = {name: value for name, value in request["env"].items() if name not in own}
        template = kernel = None
        said: dict[str, Any] = {}
        try:
            template = server.template(
                cells=self.setup, env=env, cwd=request["cwd"], seconds=self.setup_seconds
            )
            kernel = template.fork(request)
            said = template.said() if kernel is None else {}
        except (RuntimeError, OSError):  # it has ended: by a cell of its, or for reasons of its own
            said = template.said() if template else {}
        if "running" in said:
            late = f"it ended its process or took more than {self.setup_seconds:g} seconds"
            raise SetupFailed(said["running"], late)
        if "failed" in said:
            raise SetupFailed(*said["failed"])
        if kernel is None:
            self.log.info("The set-up is run in the kernel: %s.", said.get("cold", "its template has ended"))
        self.shown = template.said()["shown"] if template and kernel else ()
        return kernel

    def find_server(self) -> ForkServer:
        """Return the server that another process of ours shares, or a new one."""
        with suppress(KeyError, OSError):
            return ForkServer(os.environ[SHARED])
        modules = [*self.preload, *(module for lesson in installed() for module in lesson.preload)]
        return ForkServer.start(modules, self.visible(os.environ))

    @classmethod
    def share(cls, **settings: Any) -> None:
        """Start a server now, from which processes that are started later take their kernels too."""
        if cls.server is None and sandbox.missing() is None:
            cls.server = cls(**settings).find_server()
            os.environ[SHARED] = cls.server.path

    @classmethod
    def after_fork(cls) -> None:
        """In a process forked from this one: talk to the server over a connection of its own."""
        cls.lock = threading.Lock()
        if cls.server is not None:
            os.environ[SHARED] = cls.server.path
            cls.server = None

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel and wait for its end, which its manager would look for ten times a second."""
        await super().kill(restart)
        while self.forked and self.forked.poll() is None:
            await asyncio.sleep(0.005)

    def refused(self) -> list[str]:
        """Return what the kernel tried and was refused, and the limits it hit, a line each."""
        return self.forked.refused() if self.forked else []

    def walls(self) -> list[str]:
        """Return the walls of the kernel's sandbox, the outermost first; none without a sandbox."""
        return [*["namespaces"] * self.forked.namespaces, "Landlock", "seccomp"] if self.forked else []

    def waits(self) -> dict[str, float]:
        """Return {number of each of the kernel's threads: seconds that it has waited for a processor}.

        Under RAN, how long all of them have run. Empty where the system does not count them.
        """
        found: dict[str, float] = {}
        with suppress(OSError):
            ran = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            found[RAN] = sum(map(int, ran)) / os.sysconf("SC_CLK_TCK")
            for thread in Path(f"/proc/{self.pid}/task").iterdir():
                with suppress(OSError, ValueError, IndexError):
                    found[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
        return found

    def lost(self) -> bool:
        """Whether the kernel ended through no fault of the code that it ran."""
        return self.forked is not None and self.forked.lost()

    async def cleanup(self, restart: bool = False) -> None:
        """Remove what the kernel left in its temporary folder."""
        await super().cleanup(restart)
        if self.scratch:
            sandbox.remove(self.scratch)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WarmProvisioner.after_fork)


class ForkServer:
    """A client's end of `autograder.kernels.server`; path is that of its socket."""

    process: subprocess.Popen[bytes]  # of a server that was started here

    def __init__(self, path: str) -> None:
        self.path = path
        self.templates: dict[str, Template] = {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)

    @classmethod
    def start(cls, modules: Iterable[str], env: dict[str, str]) -> ForkServer:
        """Start a server that imports `modules`, with the environment `env`."""
        # Before its import matplotlib learns where figures go; OpenBLAS would start threads.
        env |= {
            "HOME": os.path.expanduser("~"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "OPENBLAS_NUM_THREADS": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # ipykernel sets it too, for the debugger
        }
        folder = tempfile.mkdtemp(prefix="kernels-")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(f"{folder}/socket")
            listener.listen()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "autograder.kernels.server", *modules],
                stdin=listener.fileno(), env=env, start_new_session=True,
            )  # fmt: skip
            server = cls(f"{folder}/socket")
        server.process = process
        return server

    def template(self, cwd: str, **setup: Any) -> Template:
        """Return the client's end of a process of the server's that has run cells; see `server`."""
        key = json.dumps(setup, sort_keys=True)
        if key not in self.templates or not self.templates[key].alive():
            self.socket.send(json.dumps({**setup, "cwd": cwd}).encode())
            path, files, _, _ = socket.recv_fds(self.socket, 4096, 1)
            if not path:
                raise RuntimeError("The fork server ended while it started a template.")
            (report,) = files
            self.templates[key] = Template(path.decode(), report)
        return self.templates[key]

    def alive(self) -> bool:
        """Whether the server is still there."""
        return not select.select([self.socket], [], [], 0)[0]  # it never speaks first

    def fork(self, request: Request) -> ForkedKernel | None:
        """Return a kernel, None from a template that has none. Raises RuntimeError where it died."""
        self.socket.send(json.dumps(request).encode())
        answer, files, _, _ = socket.recv_fds(self.socket, 32, 3)
        if answer == b"cold":
            return None
        if not answer:
            raise RuntimeError("The fork server ended while it started a kernel; see its message above.")
        return ForkedKernel(self, answer == b"kernel True", *files)


class Template(ForkServer):
    """A client's end of `autograder.kernels.template`; report: the file where it says how far it is."""

    def __init__(self, path: str, report: int) -> None:
        super().__init__(path)
        self.report = report

    def said(self) -> dict[str, Any]:
        """Return what it says; see `template.prepare`."""
        found: dict[str, Any] = json.loads(os.pread(self.report, os.fstat(self.report).st_size, 0) or "{}")
        return found

    def __del__(self) -> None:
        os.close(self.report)


class ForkedKernel:
    """A kernel that is no child of this process: what LocalProvisioner needs of a Popen."""

    stdin = stdout = stderr = None

    def __init__(self, server: ForkServer, namespaces: bool, pidfd: int, word: int, journal: int) -> None:
        """namespaces: whether it has its own. word: the server's pipe. journal: the kernel's."""
        self.server, self.namespaces, self.pidfd = server, namespaces, pidfd
        self.pipes = {word: b"", journal: b""}  # and what came through them
        self.word, self.journal = word, journal
        with open(f"/proc/self/fdinfo/{pidfd}") as info:
            self.pid = next(int(line.split()[1]) for line in info if line.startswith("Pid:"))

    def poll(self) -> int | None:
        """Return None while the kernel runs, then 0: its exit status is told to its parent only."""
        ended, _, _ = select.select([self.pidfd], [], [], 0)
        return 0 if ended else None

    def wait(self) -> int:
        select.select([self.pidfd], [], [])
        return 0

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # as Popen does it
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def lines(self, pipe: int) -> list[str]:
        """Return what came through a pipe so far."""
        with suppress(BlockingIOError):
            while len(self.pipes[pipe]) < 2**16 and (more := os.read(pipe, 2**16)):
                self.pipes[pipe] += more
        return self.pipes[pipe].decode(errors="replace").splitlines()

    def refused(self) -> list[str]:
        """Return what its sandbox refused, and the limits it hit."""
        said = [line for line in self.lines(self.word) if line != KILLED]
        return said + journal.read(self.lines(self.journal))

    def lost(self) -> bool:
        """Whether it was killed from outside, alone or with its server."""
        if self.poll() is None:
            return False
        for _ in range(20):  # the server looks four times a second
            if KILLED in self.lines(self.word) or not self.server.alive():
                return True
            time.sleep(0.05)
        return False

    def __del__(self) -> None:
        for number in (self.pidfd, *self.pipes):
            os.close(number)
