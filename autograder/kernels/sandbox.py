"""Lock the calling process in, with features of the Linux kernel that need no root.

Files: Landlock (https://docs.kernel.org/userspace-api/landlock.html). System calls: a seccomp filter that
knows what is allowed (seccomp(2)). Memory: setrlimit(2). All of it holds for good: neither the process nor
what it starts can take any of it back. `namespaces` is the wall before these, where the system gives it.
"""

import ctypes
import errno
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
DEEPEST = 2000  # characters of a path; from 4096 on it could not be looked into
CLONE_THREAD, CLONE_NEW = 0x10000, 0x7E020080  # the latter: namespaces of any kind
OLDEST_LANDLOCK = 3  # Linux 6.2; before it, files that may not be written could be truncated

# What Python, torch and matplotlib read of the system; not the whole of /etc, /proc or /sys.
SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf",
    "/etc/passwd", "/etc/group", "/etc/mime.types", "/etc/fonts", "/etc/ssl", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/fs/cgroup", "/dev/random", "/dev/urandom",
)  # fmt: skip

DEVICES = ("/dev/null", "/dev/zero", "/dev/full")  # anybody may write to these, too

# A wheel's copy of the course, solutions included, lies among the libraries.
HIDDEN = str(Path(__file__).parent.parent / "course")

# What Python, torch, matplotlib, IPython and ZeroMQ call.
ALLOWED = (
    # files
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
    "open", "openat", "openat2", "creat", "lseek", "stat", "fstat", "lstat", "newfstatat", "statx", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir",
    "fchdir", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link",
    "linkat", "symlink", "symlinkat", "truncate", "ftruncate", "fallocate", "fsync", "fdatasync",
    "dup", "pipe", "pipe2", "umask", "statfs", "fstatfs", "fadvise64", "sendfile", "copy_file_range",
    "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr",
    # memory
    "mmap", "munmap", "mprotect", "mremap", "brk", "madvise", "msync", "mlock", "munlock", "get_mempolicy",
    "membarrier",
    # itself
    "getpid", "gettid", "getppid", "getpgrp", "getuid", "geteuid", "getgid", "getegid", "getresuid",
    "getresgid", "getgroups", "getrlimit", "getrusage", "getpriority", "times", "sysinfo", "uname", "getcpu",
    "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "capget", "arch_prctl", "getrandom", "exit", "exit_group",
    # threads and signals
    "futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "rt_sigaction",
    "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "sigaltstack",
    "restart_syscall", "pause", "alarm", "getitimer", "setitimer",
    # time and waiting
    "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "timerfd_create",
    "timerfd_settime", "timerfd_gettime", "poll", "ppoll", "select", "pselect6", "epoll_create",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2",
    # the sockets that it has: no new ones, and none that leads elsewhere
    "accept", "accept4", "getsockname", "getpeername", "getsockopt", "shutdown", "recvfrom",
    "recvmsg", "sendmsg",
)  # fmt: skip
PROCESSES = ("fork", "vfork", "clone", "execve", "execveat", "wait4", "waitid", "setsid", "setpgid")
# By call: the place of an argument, and the values that it may have, in the 32 bits that the kernel looks at.
# fcntl: copies, flags, locks and the size of a pipe; no leases and no signals. ioctl: terminal or not, bytes
# that wait, blocking, closing on exec. prctl: names. socketpair: streams, which can be sent to nobody else.
CHOSEN: dict[str, tuple[int, tuple[int, ...]]] = {
    "fcntl": (1, (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)),
    "ioctl": (1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    "prctl": (0, (3, 15, 16, 21, 23, 39, 0x53564D41)),
    "sched_setscheduler": (1, (0,)),  # ZeroMQ sets a thread to what it is
    "getpgid": (0, (0,)),
    "getsid": (0, (0,)),
}
SOCKET_TYPES = 0xF  # the rest are flags
NEW_CALLS = range(424, 520)  # their numbers, from Linux 5.1 on: the C library asks for older ones instead

# Landlock does not know these. They answer "done": shutil.copy and others call them in passing.
PRETEND = (
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat",
    "futimesat", "flock", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    452, 463, 466, 469,  # fchmodat2, setxattrat, removexattrat, file_setattr: newer than some libseccomp
)  # fmt: skip


@dataclass
class Limits:
    """What a sandboxed process may do."""

    readable: list[str]  # files and folders beside those of the system and of Python
    writable: list[str]  # folders
    private: list[str]  # folders that are its own: what it writes there need not be there afterwards
    sockets: str  # the folder where it may make files until it is sealed, a folder `root` in it
    memory: int  # bytes, beyond what the process has when it is locked in
    disk: int  # bytes in the writable and private folders together, and in any one file
    threads: int
    processes: bool  # whether it may start any
    namespaces: bool  # whether it is to have namespaces of its own, where the system gives them


def missing() -> str | None:
    """Return a sentence that says why this machine has no sandbox, or None if it has one."""
    if sys.platform != "linux":
        return "it needs Linux"
    try:
        import landlockpy
        import pyseccomp  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        return f"{error} (pip install landlockpy pyseccomp; Debian's package libseccomp2)"
    if landlockpy.abi_version() < OLDEST_LANDLOCK:
        return "this Linux has no Landlock, or one older than 6.2"
    return None


def may_read(limits: Limits) -> list[str]:
    """Return the paths that exist of those the process may read."""
    python = [sys.prefix, sys.base_prefix]
    paths = *SYSTEM, *python, *limits.readable, *may_write(limits)
    return [path for path in paths if os.path.exists(path)]


def may_write(limits: Limits) -> list[str]:
    """Return the folders that the process may write to."""
    return [*limits.writable, *limits.private, limits.sockets]


def beside(hidden: str, path: str) -> Iterator[str]:
    """Yield `path`; if `hidden` lies below it, all that does not lead there in its place."""
    if not os.path.exists(hidden) or not lies_in(os.path.realpath(hidden), [os.path.realpath(path)]):
        yield path
    elif os.path.realpath(path) != os.path.realpath(hidden):
        for entry in os.scandir(path):
            if not entry.is_symlink():  # what it leads to has a rule of its own
                yield from beside(hidden, entry.path)


def lies_in(name: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of `folders` or below one; all of them are real paths."""
    return any(name == folder or name.startswith(folder + os.sep) for folder in folders)


def restrict(limits: Limits) -> None:
    """Lock away files, memory and other processes. Call it while there is a single thread:
    Landlock holds for the thread that calls it and for those it starts."""
    import landlockpy
    from landlockpy import AccessFS, Scope

    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("Other threads would not be locked in.")
    die_with_parent()
    read = AccessFS.EXECUTE | AccessFS.READ_FILE | AccessFS.READ_DIR
    devices = AccessFS.MAKE_CHAR | AccessFS.MAKE_BLOCK | AccessFS.IOCTL_DEV
    everything = landlockpy.fs_for_abi(landlockpy.abi_version())
    with landlockpy.Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as ruleset:
        for path in may_read(limits):
            ruleset.allow_path(path, AccessFS.READ_DIR) if os.path.isdir(path) else None
            for part in beside(HIDDEN, path):
                ruleset.allow_path(part, read if os.path.isdir(part) else read & ~AccessFS.READ_DIR)
        for path in may_write(limits):
            ruleset.allow_path(path, everything & ~devices)
        for device in DEVICES:
            ruleset.allow_path(device, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        ruleset.restrict()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in {
        resource.RLIMIT_AS: size + limits.memory,
        resource.RLIMIT_FSIZE: limits.disk,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 512,
        # In namespaces of its own it counts what runs there, but not where root has made them.
        **({resource.RLIMIT_NPROC: limits.threads} if limits.namespaces else {}),
    }.items():
        resource.setrlimit(what, (most, most))
    # An import would try to list these, be refused, and look like an attempt to.
    readable = [os.path.realpath(path) for path in may_read(limits)]
    sys.path[:] = [path for path in sys.path if lies_in(os.path.realpath(path), readable)]
    sys.path_importer_cache.clear()


def die_with_parent() -> None:
    """Have the process killed when the one that forked it ends, whatever its code does."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def drop_rights() -> None:
    """Have no right of root's any more, also not over one's own namespaces. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def seal(limits: Limits, kept: int) -> None:
    """Lock away system calls, for all threads. Call it when every socket is bound.

    kept: a descriptor that stays open whatever the process does.
    """
    import pyseccomp
    from pyseccomp import ALLOW, EQ, ERRNO, KILL_PROCESS, MASKED_EQ, Arg

    def has(place: int, value: int, mask: int = 2**32 - 1) -> Arg:
        return Arg(place, MASKED_EQ, mask, value)

    def is_not(place: int, value: int) -> list[Arg]:
        # A filter compares all 64 bits, the kernel looks at 32: so bit by bit.
        return [has(place, ~value & 1 << bit, mask=1 << bit) for bit in range(32)]

    rules: list[tuple[int, str | int, *tuple[Arg, ...]]] = [(ALLOW, name) for name in ALLOWED]
    for name, (place, values) in CHOSEN.items():
        rules += [(ALLOW, name, has(place, value)) for value in values]
    rules += [(ALLOW, "socketpair", Arg(0, EQ, 1), has(1, 1, mask=SOCKET_TYPES))]  # Unix, stream
    # Pointers, which the kernel looks at as a whole: no new limits, and to nobody but the other end.
    rules += [(ALLOW, "prlimit64", has(0, 0), Arg(2, EQ, 0)), (ALLOW, "sendto", Arg(4, EQ, 0))]
    for name, place in (("close", 0), ("dup2", 1), ("dup3", 1)):
        rules += [(ALLOW, name, bit) for bit in is_not(place, kept)]
    # Signals to itself, but SIGKILL: whoever ended by it was killed from outside, and is worth another try.
    for name, place in (("kill", 1), ("tgkill", 2)):
        anybody = limits.processes and limits.namespaces  # there are only its own
        to = [] if anybody else [has(0, os.getpid())]
        rules += [(ALLOW, name, *to, bit) for bit in is_not(place, signal.SIGKILL)]
    if limits.processes:
        rules += [(ALLOW, name) for name in PROCESSES]
    else:
        rules += [(ALLOW, "clone", Arg(0, MASKED_EQ, CLONE_THREAD | CLONE_NEW, CLONE_THREAD))]
    rules += [(ERRNO(0), name) for name in PRETEND]
    known = {number_of(name) for _, name, *_ in rules}
    rules += [(ERRNO(errno.ENOSYS), number) for number in NEW_CALLS if number not in known]
    seccomp = pyseccomp.SyscallFilter(ERRNO(errno.EPERM))
    seccomp.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)  # for all threads
    seccomp.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)  # a tree in place of a list
    seccomp.set_attr(pyseccomp.Attr.ACT_BADARCH, KILL_PROCESS)  # calls by 32-bit numbers
    for action, named, *arguments in rules:
        if (number := number_of(named)) >= 0:
            seccomp.add_rule(action, number, *arguments)
    seccomp.load()


def number_of(name: str | int) -> int:
    """Return the number of a system call, negative where this processor or libseccomp does not have it."""
    import pyseccomp

    return name if isinstance(name, int) else pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)


def content(
    folders: Iterable[str], most_bytes: float = math.inf, most_files: float = math.inf
) -> tuple[int, int, bool]:
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


def remove(*folders: str) -> None:
    """Remove what a process could write to; Python's own rmtree stops where folders are too deep."""
    subprocess.run(["rm", "-rf", "--", *folders], stderr=subprocess.DEVNULL)
