"""The fork server: import what the lesson imports once, then fork a kernel for each request.

    python -P -m autograder.kernels.server MODULE ...   with a listening socket as stdin

A client connects, and sends requests: JSON objects {argv, env, cwd, limits, temporary}. The answer is a
pidfd of the new kernel and the ends of two pipes: one tells what the kernel's sandbox refused, and the
kernel itself writes there; the other is the server's own. The server keeps an eye on its kernels. When a
client is gone its kernels are killed, with the last client the server ends. Kernels are forks of its zygote,
a process that was forked before the first request: what others asked for is not in their memory.

A request {cells, env, cwd, seconds} asks for kernels in which cells have been run already: see `template`.
The answer is the path of a socket where another process takes requests as this one does, and a file in
memory where that process says how far it is.
"""

import ctypes
import gc
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from . import journal, namespaces, sandbox, template
from .namespaces import MOST_FILES
from .sandbox import Limits
from .template import Prepared

KILLED = "killed: from outside"
PR_SET_CHILD_SUBREAPER = 36
WATCH = 0.25  # seconds between looks at what the kernels use

Request = dict[str, Any]  # as above


def main(modules: Iterable[str]) -> None:
    """Import `modules`, then serve until the last client is gone."""
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # ipykernel reads it when it is imported
    gc.disable()  # a quarter of the imports' time: it finds nothing
    for module in modules:
        import_module(module)
    gc.enable()
    gc.freeze()  # or each kernel's collector would go through all of this, and copy what it touches
    # A fork copies only the thread that calls it: any other would be missing, its locks held.
    assert threading.active_count() == 1, threading.enumerate()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the client
    listener = socket.socket(fileno=os.dup(0))
    folder = os.path.dirname(listener.getsockname())
    no_namespaces()  # known to all that is forked from here
    serve(listener, folder)
    sandbox.remove(folder)


def serve(listener: socket.socket, folder: str | None = None, prepared: Prepared | None = None) -> None:
    """Fork kernels until the last client is gone; a template, until the server is.

    folder: for the sockets of templates. prepared: where this is one, what it has Prepared.
    """
    # What a kernel started is this process's child when its parent has ended: see reap().
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    zygote = Zygote(prepared)
    clients, next_look = {listener.accept()[0]}, 0.0
    kernels: Kernels = {}
    templates: Templates = {}
    orphans: set[int] = set()
    while clients or prepared:
        for ready in select.select([listener, *clients], [], [], WATCH if kernels or orphans else None)[0]:
            if ready is listener:
                clients.add(listener.accept()[0])
            elif message := received(ready):
                request = json.loads(message)
                if "cells" in request:
                    orphans = reap(kernels, templates, zygote)
                    introduce(ready, request, templates, zygote, folder)
                else:
                    answer(ready, request, kernels, zygote, prepared)
            else:
                clients.remove(ready)
                ready.close()
                for pid, kernel in kernels.items():
                    if kernel.client is ready:
                        os.kill(pid, signal.SIGKILL)
                        sandbox.remove(*kernel.temporary)
        orphans = reap(kernels, templates, zygote)
        if (begun := time.monotonic()) > next_look:
            for pid, kernel in kernels.items():
                if excess := over(kernel):
                    kernel.say(excess)
                    os.kill(pid, signal.SIGKILL)
            # A folder may hold so much that looking would be all that is done.
            next_look = begun + 10 * (time.monotonic() - begun)


def received(client: socket.socket) -> bytes:
    """Return a client's message, empty where it is gone."""
    try:
        return client.recv(2**20)
    except ConnectionResetError:  # it was killed before it had read an answer
        return b""


@dataclass
class Kernel:
    """A kernel that runs."""

    client: socket.socket
    pid: int  # the process that looks are at: in namespaces of its own, a child of the server's child
    pipe: int  # the server's own: what is written there, the client can read
    limits: Limits
    temporary: list[str]  # folders that go with it
    at_start: tuple[int, int]  # bytes and files in its writable folders
    said: str = ""

    def say(self, line: str) -> None:
        self.said = line
        with suppress(OSError):
            os.write(self.pipe, f"{line}\n".encode())


@dataclass
class Template:
    """A process that has run cells, or is about to, and forks kernels as this one does."""

    path: str  # of its socket
    report: int  # a file where it says how far it is


Kernels = dict[int, Kernel]  # by process
Templates = dict[int, Template]


class Zygote:
    """A process as this one is now, which forks others that then are this one's children."""

    def __init__(self, prepared: Prepared | None) -> None:
        """prepared: what the kernels are handed that it forks."""
        self.socket, own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent, self.pid = os.getpid(), os.fork()
        if self.pid == 0:
            self.serve(own, parent, prepared)
        own.close()

    def fork(self, what: str, request: Request, *files: int) -> tuple[int, int]:
        """Fork what `request` describes, with `files` open; return its number, and that of the kernel itself.

        Raises OSError where the zygote is gone.
        """
        asked = os.memfd_create("request")
        os.write(asked, json.dumps(request).encode())
        born, birth = os.pipe()
        socket.send_fds(self.socket, [what.encode()], [asked, birth, *files])
        os.close(asked)
        os.close(birth)
        with open(born) as pipe:
            numbers = [*map(int, pipe.read().split())]
        if not numbers:
            raise OSError("The process that kernels are forked from has ended.")
        return numbers[0], numbers[-1]

    @staticmethod
    def serve(own: socket.socket, parent: int, prepared: Prepared | None) -> NoReturn:
        sandbox.die_with_parent()
        silence(own.fileno())
        with suppress(OSError):
            while (message := socket.recv_fds(own, 16, 4))[0]:
                what, files, _, _ = message
                child = os.fork()
                if child == 0:
                    between = os.getpid()
                    if os.fork():
                        os._exit(0)  # and the nearest subreaper above takes what is left
                    while os.getppid() == between:
                        time.sleep(0.001)
                    if os.getppid() == parent:
                        become(what.decode(), *files, prepared=prepared)
                    os._exit(0)
                os.waitpid(child, 0)
                for number in files:
                    os.close(number)
        os._exit(0)


def become(what: str, asked: int, birth: int, *files: int, prepared: Prepared | None) -> NoReturn:
    """Turn this fresh fork into what a request describes."""
    silence(asked, birth, *files)
    os.write(birth, f"{os.getpid()} ".encode())
    with open(asked) as file:
        file.seek(0)
        request = json.load(file)
    if what == "template":
        os.close(birth)
        listener, report = files
        become_template(socket.socket(fileno=listener), report, **request)
    request["limits"] = Limits(**request["limits"])
    become_kernel(**request, pipe=files[0], birth=birth, prepared=prepared)


def introduce(
    client: socket.socket, request: Request, templates: Templates, zygote: Zygote, folder: str | None
) -> None:
    """Tell a client of the template it asks for, the same for all who ask for the same."""
    asked = {name: value for name, value in request.items() if name != "cwd"}
    path = f"{folder}/{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]}"
    known = next((other for other in templates.values() if other.path == path), None)
    if known is None:
        known = Template(path, os.memfd_create("report"))
        # A copy, as this client's own is nothing for the kernels of others to know of.
        asked["cwd"] = shutil.copytree(request["cwd"], f"{path}.work", symlinks=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen()
            pid, _ = zygote.fork("template", asked, listener.fileno(), known.report)
        templates[pid] = known
    with suppress(OSError):
        socket.send_fds(client, [path.encode()], [known.report])


def become_template(
    listener: socket.socket, report: int, cells: template.Cells, env: dict[str, str], cwd: str, seconds: float
) -> NoReturn:
    """Turn this fresh fork into a template."""
    try:
        sandbox.die_with_parent()
        prepared = template.prepare(cells, env, cwd, seconds, report, f"{listener.getsockname()}.home")
        serve(listener, prepared=prepared)
    finally:
        os._exit(0)


def answer(
    client: socket.socket, request: Request, kernels: Kernels, zygote: Zygote, prepared: Prepared | None
) -> None:
    """Fork the kernel that a client asks for, and tell it."""
    if prepared is not None and prepared.shell is None:
        client.send(b"cold")
        return
    limits, temporary = Limits(**request.pop("limits")), request.pop("temporary")
    own = limits.namespaces and no_namespaces() is None and all_readable(tuple(limits.readable))
    limits = replace(limits, namespaces=own)
    request["limits"] = asdict(limits)
    says, word = os.pipe2(os.O_NONBLOCK)
    noted, note = os.pipe2(os.O_NONBLOCK)
    at_start = sandbox.content(looked_at(limits))[:2]
    child, pid = zygote.fork("kernel", request, note)
    os.close(note)
    kernels[child] = Kernel(client, pid, word, limits, temporary, at_start)
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:  # it has ended at once
        handle = os.pidfd_open(child)
    with suppress(OSError):  # it is gone: the next look at it will tell
        socket.send_fds(client, [f"kernel {limits.namespaces}".encode()], [handle, says, noted])
    for end in (handle, says, noted):
        os.close(end)


@cache
def no_namespaces() -> str | None:
    """Return why kernels get no namespaces of their own, None if they do."""
    return namespaces.refused()


@cache
def all_readable(paths: tuple[str, ...]) -> bool:
    """Whether root may read all that lies there as everybody may: in namespaces it has no more rights."""
    for path in paths if os.geteuid() == 0 else ():
        for entry in (Path(path), *Path(path).rglob("*")):
            with suppress(OSError):
                found = entry.stat()
                if found.st_uid != os.geteuid() and not found.st_mode & 0o004:
                    return False
    return True


def looked_at(limits: Limits) -> list[str]:
    """Return the folders whose size only looks can keep within limits."""
    return limits.writable if limits.namespaces else sandbox.may_write(limits)


def reap(kernels: Kernels, templates: Templates, zygote: Zygote) -> set[int]:
    """Forget the kernels and templates that ended; kill what they left running, and return it."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if kernel := kernels.pop(pid, None):
                # A submission cannot do this to itself: its sandbox refuses it.
                if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and not kernel.said:
                    kernel.say(KILLED)
                os.close(kernel.pipe)
            elif known := templates.pop(pid, None):
                os.close(known.report)
                sandbox.remove(known.path, f"{known.path}.home", f"{known.path}.work")
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    orphans = set(map(int, children)) - {*kernels, *templates, zygote.pid}
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    return orphans  # they are buried the next time


def over(kernel: Kernel) -> str | None:
    """Name the limit, of those that the system does not enforce, that the process is over; or None."""
    limits = kernel.limits
    most_bytes, most_files = kernel.at_start[0] + limits.disk, kernel.at_start[1] + MOST_FILES
    size, files, too_deep = sandbox.content(looked_at(limits), most_bytes, most_files)
    if too_deep:
        return "disk: folders too deep"
    if size + unnamed(kernel.pid) > most_bytes or files > most_files:
        return f"disk: over {limits.disk // 2**20} MB or {MOST_FILES} files"
    with suppress(OSError, IndexError, ValueError):
        # After the name, which may hold anything in brackets, the 18th field counts threads.
        threads = int(Path(f"/proc/{kernel.pid}/stat").read_text().rpartition(")")[2].split()[17])
        if threads > limits.threads:
            return f"threads: over {limits.threads}"
    return None


def unnamed(pid: int) -> int:
    """Return the bytes in files that the process holds open though they are removed."""
    size = 0
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found = os.stat(f"/proc/{pid}/fd/{number}")
                size += found.st_blocks * 512 if found.st_nlink == 0 else 0
    return size


def become_kernel(
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    limits: Limits,
    pipe: int,
    birth: int,
    prepared: Prepared | None,
) -> NoReturn:
    """Turn this fresh fork into the kernel that `argv` describes, as if it had been started cold.

    pipe: for what its sandbox refuses. birth: for its number, if that is another process's then.
    """
    try:
        if limits.namespaces:
            namespaces.enter(lambda pid: tell(pid, birth, pipe))
            namespaces.build(limits, sandbox.may_read(limits))
        os.close(birth)
        os.setsid()  # signals to its process group reach the kernel and what it starts, nobody else
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(env)
        tempfile.tempdir = None  # found out by the server, from its own environment
        os.chdir(cwd)
        if prepared is None:
            template.reseed()
        sys.argv = argv
        from ipykernel.kernelapp import IPKernelApp

        app: Any = IPKernelApp.instance()
        sandbox.restrict(limits)
        app.initialize(argv[1:])
        sys.path.append("")  # the working folder, as in Jupyter, but behind all that it must not shadow
        if prepared:
            prepared.hand_over(app)
        else:
            template.know_shell()
        if not limits.processes:
            app.shell.system = app.shell.getoutput = refuse_command
        if limits.namespaces:
            namespaces.make_read_only(limits.sockets)
            sandbox.drop_rights()
        sandbox.seal(limits, pipe)
        journal.install(pipe, sandbox.may_read(limits), sandbox.may_write(limits))
        app.start()
    except Exception as error:
        os.write(pipe, f"{journal.START}{type(error).__name__}: {error}"[: journal.LONGEST].encode())
    finally:
        # Unloading every library takes seconds, and the memory is the server's anyway.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def tell(pid: int, birth: int, pipe: int) -> None:
    """Tell the server the number of the kernel's process; leave both descriptors to that."""
    os.write(birth, str(pid).encode())
    os.close(birth)
    os.close(pipe)


def silence(*keep: int) -> None:
    """Close what the server has open but `keep`, the instructor's terminal included."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for before, after in pairwise((2, *sorted(keep), 2**16)):
        os.closerange(before + 1, after)


def refuse_command(command: str, **_: object) -> list[str]:
    """Stand in for what `!command` calls: an answer that installs something first still counts."""
    with suppress(PermissionError):
        sys.audit("os.system", command)
    print(f"`!{command}` is not run: a submission may not start processes.", file=sys.stderr)
    return []


if __name__ == "__main__":
    main(sys.argv[1:])
