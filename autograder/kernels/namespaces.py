"""Give a process a machine of its own, in which nobody else's files, processes or network are.

Linux namespaces (https://man7.org/linux/man-pages/man7/namespaces.7.html), made without root inside a user
namespace. Some systems refuse those: newer Ubuntus, and Docker as it comes. `refused` finds out.
"""

import ctypes
import os
import resource
import select
import shutil
import signal
import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from . import sandbox
from .sandbox import Limits

MOST_FILES = 10_000  # in all that a process may write to

NEW = 0x20000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000  # mounts, IPC, users, processes, network
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
MOUNT_SETATTR = 442  # the number of a system call that not every C library has
AT_RECURSIVE, AT_FDCWD, MOUNT_ATTR_RDONLY = 0x8000, -100, 1

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library. Raises OSError."""
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2). Raises OSError."""
    call("mount", source.encode(), target.encode(), kind and kind.encode(), flags, options.encode())


def make_read_only(path: str, recursive: bool = False) -> None:
    """Have nobody write below a mount, whatever else it allows stays. Raises OSError."""
    attributes = struct.pack("4Q", MOUNT_ATTR_RDONLY, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    call("syscall", MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, len(attributes))


def refused() -> str | None:
    """Return why this system gives no namespaces, None if it does: a child goes the whole way once."""
    read, write = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/root")
        os.mkdir(f"{folder}/home")
        limits = Limits([], [], [f"{folder}/home"], folder, 0, 2**20, 1, False, True)
        child = os.fork()
        if child == 0:
            try:
                enter(lambda _: None)
                build(limits, sandbox.may_read(limits))
            except BaseException as error:
                os.write(write, str(error).encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read) as said:
            why = said.read()
        os.waitpid(child, 0)
    return why or None


def enter(born: Callable[[int], None]) -> None:
    """Move this process, which has a single thread, into namespaces of its own; return in a child of it.

    The child is the first process there, with the rights of root over what is there and over nothing else.
    This process calls `born` with the child's number, as it is outside, waits and ends as the child does;
    if it is killed, the child is. Raises OSError where the system refuses.
    """
    user, group = os.geteuid(), os.getegid()
    call("unshare", NEW)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    sandbox.die_with_parent()  # not before: new rights make the system forget it
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(read)
        born(child)
        end_as(child)
    os.close(write)
    call("prctl", sandbox.PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([read], [], [], 0)[0]:  # nobody holds the other end any more
        os._exit(0)
    os.close(read)


def end_as(child: int) -> NoReturn:
    """Wait for a child, and end as it did."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the memory of the server is in it
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def build(limits: Limits, readable: Iterable[str]) -> None:
    """Make a file system of one's own the root, in which there is nothing but what `limits` allow.

    What may be read cannot be written to. `limits.writable` are there as they are; of `limits.private` the
    process gets copies in memory, with room for `limits.disk` bytes and MOST_FILES files more.
    Raises OSError.
    """
    root = f"{limits.sockets}/root"
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    taken: list[str] = []
    own = set(sandbox.may_write(limits))
    for path in sorted(set(readable) - own, key=len):
        real = os.path.realpath(path)
        if path.startswith("/proc/"):  # it comes whole, below
            continue
        if not sandbox.lies_in(real, taken):
            bind(real, root)
            make_read_only(root + real, recursive=True)
            taken.append(real)
        if not os.path.lexists(root + path):  # a link leads there
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            os.symlink(real, root + path)
    for device in sandbox.DEVICES:
        bind(device, root)
    if os.path.isdir(root + os.path.realpath(sandbox.HIDDEN)):
        mount("tmpfs", root + os.path.realpath(sandbox.HIDDEN), "tmpfs", MS_NOSUID | MS_NODEV, "size=4k")
    for path in limits.writable:
        bind(path, root)
    bind(limits.sockets, root, deep=False)
    room = f"{root}/room"
    size, files, _ = sandbox.content(limits.private)
    options = f"size={size + limits.disk},nr_inodes={files + MOST_FILES}"
    os.mkdir(room)
    mount("tmpfs", room, "tmpfs", MS_NOSUID | MS_NODEV, options)
    for number, folder in enumerate(limits.private):
        shutil.copytree(folder, f"{room}/{number}", symlinks=True)
        bind(f"{room}/{number}", root, folder)
    call("umount2", room.encode(), MNT_DETACH)
    os.rmdir(room)
    os.mkdir(f"{root}/proc")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    make_read_only(root)
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def bind(source: str, root: str, place: str | None = None, deep: bool = True) -> None:
    """Show a file or folder below `root` too, at its own path or at `place`.

    deep: with what is mounted below it. Raises OSError.
    """
    target = root + (place or source)
    if not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.mkdir(target) if os.path.isdir(source) else Path(target).touch()
    mount(source, target, None, MS_BIND | (MS_REC if deep else 0))
