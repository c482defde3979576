"""The fork server: import what the lesson imports once, then fork a kernel for each request.

    python -P -m autograder.kernels.server MODULE ...   with a listening socket as stdin

A client connects, and sends requests: JSON objects {argv, env, cwd, limits, scratch}. The answer is a pidfd
of the new kernel and the end of a pipe that tells what its sandbox refused. The server keeps an eye
on its kernels. When a client is gone its kernels are killed, with the last client the server ends.
"""

import ctypes
import gc
import json
import math
import os
import random
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from . import journal, sandbox

KILLED = "killed: from outside"
PR_SET_CHILD_SUBREAPER = 36
WATCH = 0.25  # seconds between looks at what the kernels use
MOST_FILES = 10_000
DEEPEST = 2000  # characters of a path; from 4096 on it could not be looked into


def main(modules):
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
    # What a kernel started is this process's child when its parent has ended: see bury().
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    listener = socket.socket(fileno=os.dup(0))
    clients, kernels, next_look = {listener.accept()[0]}, {}, 0.0
    while clients:
        for ready in select.select([listener, *clients], [], [], WATCH if kernels else None)[0]:
            if ready is listener:
                clients.add(listener.accept()[0])
            elif message := ready.recv(2**20):
                answer(ready, json.loads(message), kernels)
            else:
                clients.remove(ready)
                ready.close()
                for pid, kernel in kernels.items():
                    if kernel.client is ready:
                        os.kill(pid, signal.SIGKILL)
                        sandbox.remove(kernel.scratch)
        bury(kernels)
        if (begun := time.monotonic()) > next_look:
            for pid, kernel in kernels.items():
                if excess := over(pid, kernel):
                    kernel.say(excess)
                    os.kill(pid, signal.SIGKILL)
            # A folder may hold so much that looking would be all that is done.
            next_look = begun + 10 * (time.monotonic() - begun)
    path = listener.getsockname()
    os.remove(path)
    os.rmdir(os.path.dirname(path))


@dataclass
class Kernel:
    """A kernel that runs."""

    client: socket.socket
    pipe: int  # what is written there, the client can read
    limits: sandbox.Limits
    scratch: str  # its temporary folder
    at_start: tuple[int, int]  # bytes and files in its writable folders
    said: str = ""

    def say(self, line):
        self.said = line
        with suppress(OSError):
            os.write(self.pipe, f"{line}\n".encode())


def answer(client, request, kernels):
    """Fork the kernel that a client asks for, and tell it."""
    limits, scratch = sandbox.Limits(**request.pop("limits")), request.pop("scratch")
    read, write = os.pipe2(os.O_NONBLOCK)
    at_start = content(limits.writable)[:2]
    pid = os.fork()
    if pid == 0:
        become_kernel(**request, limits=limits, pipe=write)
    kernels[pid] = Kernel(client, write, limits, scratch, at_start)
    kernel = os.pidfd_open(pid)
    with suppress(OSError):  # it is gone: the next look at it will tell
        socket.send_fds(client, [b"kernel"], [kernel, read])
    os.close(kernel)
    os.close(read)


def bury(kernels):
    """Forget the kernels that ended and kill what they left running."""
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
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for orphan in set(map(int, children)) - set(kernels):
        os.kill(orphan, signal.SIGKILL)


def over(pid, kernel):
    """Name the limit, of those that the system does not enforce, that the process is over; or None."""
    limits = kernel.limits
    most_bytes, most_files = kernel.at_start[0] + limits.disk, kernel.at_start[1] + MOST_FILES
    size, files, too_deep = content(limits.writable, most_bytes, most_files)
    if too_deep:
        return "disk: folders too deep"
    if size + unnamed(pid) > most_bytes or files > most_files:
        return f"disk: over {limits.disk // 2**20} MB or {MOST_FILES} files"
    with suppress(OSError, IndexError, ValueError):
        # After the name, which may hold anything in brackets, the 18th field counts threads.
        threads = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[17])
        if threads > limits.threads:
            return f"threads: over {limits.threads}"


def content(folders, most_bytes=math.inf, most_files=math.inf):
    """Return the bytes and files below `folders`, counted until there are more than these, and
    whether any folder lies too deep to be looked into."""
    size, files, too_deep, folders = 0, 0, False, list(folders)
    while folders and files <= most_files and size <= most_bytes:
        folder = folders.pop()
        if len(folder) > DEEPEST:
            too_deep = True
            continue
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return size, files, too_deep


def unnamed(pid):
    """Return the bytes in files that the process holds open though they are removed."""
    size = 0
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found = os.stat(f"/proc/{pid}/fd/{number}")
                size += found.st_blocks * 512 if found.st_nlink == 0 else 0
    return size


def become_kernel(argv, env, cwd, limits, pipe):
    """Turn this fresh fork into the kernel that `argv` describes, as if it had been started cold."""
    os.setsid()  # signals to its process group reach the kernel and what it starts, nobody else
    signal.signal(signal.SIGINT, signal.default_int_handler)
    silence(pipe)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # found out by the server, from its own environment
    os.chdir(cwd)
    reseed()
    sys.argv = argv
    from ipykernel.kernelapp import IPKernelApp

    try:
        app = IPKernelApp.instance()
        sandbox.restrict(limits)
        app.initialize(argv[1:])
        if not limits.processes:
            app.shell.system = app.shell.getoutput = refuse_command
        sandbox.seal(limits)
        journal.keep(pipe, sandbox.may_read(limits), limits.writable)
        app.start()
    except Exception:
        os.write(pipe, traceback.format_exc()[-2000:].encode())
    finally:
        # Unloading every library takes seconds, and the memory is the server's anyway.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def silence(keep):
    """Close what the server has open but `keep`, the instructor's terminal included."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, keep)
    os.closerange(keep + 1, 2**16)


def refuse_command(command, **_):
    """Stand in for what `!command` calls: an answer that installs something first still counts."""
    with suppress(PermissionError):
        sys.audit("os.system", command)
    print(f"`!{command}` is not run: a submission may not start processes.", file=sys.stderr)
    return []


def reseed():
    """Draw new random states: a fork starts with its parent's, the same for every kernel."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


if __name__ == "__main__":
    main(sys.argv[1:])
