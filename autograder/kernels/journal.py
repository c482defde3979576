"""Name what a sandboxed process tried and was refused, for the instructor's report.

The sandbox refuses; this only says so. Python tells audit hooks what is about to happen
(https://docs.python.org/3/library/audit_events.html), and no code can take a hook away. Whoever goes round
Python, by ctypes, is noticed doing that; whoever takes this module apart, by gc, may not be. A file that
grows too large is the system's to notice: it sends a signal.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from .sandbox import CHOSEN, DEVICES, lies_in

WRITTEN, MOST = 200, 20  # lines that a process writes, and that somebody reads: the first say enough
LONGEST = 300  # characters of one
START = "start: "  # of the kernel, which failed
TOO_LARGE = "disk: a file as large as all of them may be"

READS = {
    "open": "open",
    "os.listdir": "listing of",
    "os.scandir": "listing of",
    "os.chdir": "change to",
    "sqlite3.connect": "open",
}
WRITES = {
    "open": "open for writing",
    "os.remove": "removal of",
    "os.rmdir": "removal of",
    "os.rename": "rename of",
    "os.link": "link to",
    "os.symlink": "link to",
    "os.mkdir": "new folder",
    "os.truncate": "truncation of",
    "os.chmod": "change of rights of",
    "os.chown": "change of owner of",
}
CALLS = {
    "socket.__new__": "socket",
    "socket.connect": "socket: connect",
    "socket.bind": "socket: bind",
    "socket.getaddrinfo": "socket: look up",
    "socket.gethostbyname": "socket: look up",
    "subprocess.Popen": "process",
    "os.system": "process",
    "os.exec": "process",
    "os.posix_spawn": "process",
    "os.fork": "process: fork",
    "os.forkpty": "process: fork",
    "os.kill": "signal: process, number",
    "os.killpg": "signal: process group, number",
    "resource.setrlimit": "change of limits",
    "resource.prlimit": "change of limits",
    "ctypes.dlopen": "C library",
    "ctypes.dlsym": "C function",
}
CONTROLS = {"fcntl.fcntl": "fcntl", "fcntl.ioctl": "ioctl"}
READING = {f"{what} " for what in READS.values()}
PLACES = READING | {f"{what} " for what in WRITES.values()}
KINDS = sorted(
    PLACES | {f"{what} " for table in (CALLS, CONTROLS) for what in table.values()} | {START}, reverse=True
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def install(pipe: int, readable: Sequence[str], writable: Sequence[str]) -> None:
    """From now on, write a line to the descriptor `pipe` for what lies outside these paths."""
    readable = [os.path.realpath(path) for path in (*readable, *writable, *DEVICES)]
    writable = [os.path.realpath(path) for path in (*writable, os.devnull)]
    written: set[str] = set()

    # Whoever empties or replaces those of the module changes nothing here.
    reads, writes, calls = dict(READS), dict(WRITES), dict(CALLS)
    lies, named, shown = lies_in, name_of, plain

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in calls and not in_pair(event):
            note(f"{calls[event]} {', '.join(map(shown, arguments[:3]))}")
        elif event in CONTROLS:
            if arguments[1] & 0xFFFFFFFF not in CHOSEN[CONTROLS[event]][1]:
                note(f"{CONTROLS[event]} command {arguments[1]}")
        elif event in reads or event in writes:
            to_write = event not in reads or event == "open" and arguments[2] & WRITING
            for path in arguments[:2]:
                name = named(path)
                if name and not lies(name, writable if to_write else readable):
                    note(f"{(writes if to_write else reads)[event]} {name}")

    def note(line: str, write: Callable[[int, bytes], int] = os.write) -> None:
        if line not in written and len(written) < WRITTEN:
            written.add(line)
            with suppress(OSError):  # the pipe is full: what is in it says enough
                write(pipe, (line[:LONGEST].replace("\n", " ") + "\n").encode(errors="replace"))

    sys.addaudithook(hook)
    signal.signal(signal.SIGXFSZ, lambda *_: note(TOO_LARGE))


def read(lines: Sequence[str]) -> list[str]:
    """Return the lines that say something, of those that `install` can have written.

    To be called outside of the sandbox, where one sees what is there: to look for a file that is not, as
    imports do, says nothing. Whose process it is can write lines, too, about itself; what is no such line
    is left out, and it is said that there was one.
    """
    found: dict[str, None] = {}
    forged = False
    for line in lines:
        kind = next((kind for kind in KINDS if line.startswith(kind)), "")
        what = line.removeprefix(kind)
        if line == TOO_LARGE:
            found[line] = None
        elif not kind or len(line) > LONGEST or kind in PLACES and not what.startswith("/"):
            forged = True
        elif kind not in READING or os.path.exists(what):
            found[line if kind in PLACES else f"{kind}‘{what}’".replace(" ‘’", "")] = None
    return [*found][:MOST] + ["writing into this list of what is refused"] * forged


def plain(part: object) -> str:
    """Return an argument as text, without asking it."""
    if isinstance(part, (str, bytes)):
        return os.fsdecode(str.__str__(part) if isinstance(part, str) else part)[:80]
    return int.__repr__(part) if isinstance(part, int) else type(part).__name__


def name_of(path: object) -> str | None:
    """Return what a path, or SQLite's URI of one, leads to; None where it is neither."""
    if not isinstance(path, (str, bytes)):
        return None
    path = os.fsdecode(str.__str__(path) if isinstance(path, str) else path)  # a class of one's own may lie
    if path.startswith("file:"):
        path = path.removeprefix("file:").partition("?")[0]
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path


def in_pair(event: str) -> bool:
    """Whether a socket is half of a pair, which event loops are made of and which leads nowhere."""
    return event == "socket.__new__" and sys._getframe(3).f_code.co_name == "socketpair"
