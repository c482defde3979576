"""Lock the calling process in, with features of the Linux kernel that need no root.

Files: Landlock (https://docs.kernel.org/userspace-api/landlock.html). Sockets, processes, signals
and calls that only an administrator needs: a seccomp filter (seccomp(2)). Memory: setrlimit(2).
All of it holds for good: neither the process nor what it starts can take any of it back.
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
CLONE_THREAD = 0x10000
SIGNAL_OWNER = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: a signal when a file is ready
FILE_FLAGS = (0x40086602, 0x401C5820)  # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR: work on what may be read
UNKNOWN = -1  # the number of a system call that this processor or libseccomp does not have
SIGNAL_SCOPE = 6  # Landlock's version that keeps signals in, Linux 6.12
OLDEST_LANDLOCK = 3  # Linux 6.2; before it, files that may not be written could be truncated

# What Python, torch and matplotlib read of the system; not the whole of /etc, /proc or /sys.
SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf",
    "/etc/passwd", "/etc/group", "/etc/mime.types", "/etc/fonts", "/etc/ssl", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/fs/cgroup", "/dev/random", "/dev/urandom",
)  # fmt: skip

# A wheel's copy of the course, solutions included, lies among the libraries.
HIDDEN = str(Path(__file__).parent.parent / "course")

NO_PROCESS = ("fork", "vfork", "execve", "execveat")
# Signals to others, their memory, and ways round this filter (io_uring does I/O without calls).
NO_OTHERS = (
    "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal", "pidfd_getfd",
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "perf_event_open", "bpf",
    "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key",
    "request_key", "setpriority", "sched_setattr", "sched_setparam",
    "sched_setaffinity", "ioprio_set", "inotify_add_watch",
)  # fmt: skip
# Sockets: the kernel's own are bound by the time this holds. Memory that no limit counts.
NO_CHANNELS = (
    "socket", "connect", "bind", "listen", "memfd_create", "memfd_secret", "shmget", "shmat", "msgget",
    "semget", "mq_open", "setrlimit",
)  # fmt: skip
# For those who grade as root.
NO_ADMINISTRATION = (
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen",
    "fsconfig", "fsmount", "mount_setattr", "open_by_handle_at", "name_to_handle_at", "mknod", "mknodat",
    "swapon", "swapoff", "reboot", "sethostname", "setdomainname", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "settimeofday", "clock_settime", "clock_adjtime",
    "adjtimex", "acct", "quotactl", "syslog", "iopl", "ioperm", "fanotify_init", "vhangup",
)  # fmt: skip
# Landlock does not know these. They answer "done": shutil.copy and others call them in passing.
PRETEND = (
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat",
    "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    452, 463, 466, 469,  # fchmodat2, setxattrat, removexattrat, file_setattr: newer than some libseccomp
)  # fmt: skip


@dataclass
class Limits:
    """What a sandboxed process may do."""

    readable: list[str]  # files and folders beside those of the system and of Python
    writable: list[str]  # folders
    memory: int  # bytes, beyond what the process has when it is locked in
    disk: int  # bytes in the writable folders together, and in any one file
    threads: int
    processes: bool  # whether it may start any


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
    return [path for path in (*SYSTEM, *python, *limits.readable, *limits.writable) if os.path.exists(path)]


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
        for path in limits.writable:
            ruleset.allow_path(path, everything & ~devices)
        for device in ("/dev/null", "/dev/zero", "/dev/full"):
            ruleset.allow_path(device, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        ruleset.restrict()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in {
        resource.RLIMIT_AS: size + limits.memory,
        resource.RLIMIT_FSIZE: limits.disk,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 512,
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


def seal(limits: Limits) -> None:
    """Lock away system calls, for all threads. Call it when every socket is bound."""
    import landlockpy
    import pyseccomp
    from pyseccomp import ALLOW, EQ, ERRNO, KILL_PROCESS, MASKED_EQ, NE, Arg

    refuse, myself = ERRNO(errno.EPERM), os.getpid()
    rules: list[tuple[int, str | int, *tuple[Arg, ...]]] = []
    rules += [(refuse, name) for name in (*NO_OTHERS, *NO_CHANNELS, *NO_ADMINISTRATION)]
    rules += [(ERRNO(0), name) for name in PRETEND]
    rules += [(refuse, "prlimit64", Arg(2, NE, 0)), (refuse, "prctl", Arg(0, EQ, PR_SET_PDEATHSIG))]
    # ZeroMQ starts a thread for large messages and sets it to what it is, SCHED_OTHER.
    rules += [(refuse, "sched_setscheduler", Arg(1, NE, 0))]
    rules += [(refuse, "fcntl", Arg(1, EQ, command)) for command in SIGNAL_OWNER]
    rules += [(refuse, "ioctl", Arg(1, EQ, command)) for command in FILE_FLAGS]
    if not limits.processes:
        rules += [(refuse, name) for name in NO_PROCESS]
        rules += [(refuse, "clone", Arg(0, MASKED_EQ, CLONE_THREAD, 0))]
        # Its flags are out of a filter's sight; the C library then takes clone.
        rules += [(ERRNO(errno.ENOSYS), "clone3")]
    # So that whoever ended by it was killed from outside, and is worth another try.
    rules += [(refuse, "kill", Arg(0, EQ, myself), Arg(1, EQ, signal.SIGKILL))]
    rules += [(refuse, "tgkill", Arg(0, EQ, myself), Arg(2, EQ, signal.SIGKILL))]
    if not limits.processes or landlockpy.abi_version() < SIGNAL_SCOPE:
        rules += [(refuse, call, Arg(0, NE, myself)) for call in ("kill", "tgkill")]
    seccomp = pyseccomp.SyscallFilter(ALLOW)
    seccomp.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)  # for all threads
    seccomp.set_attr(pyseccomp.Attr.ACT_BADARCH, KILL_PROCESS)  # calls by 32-bit numbers
    for action, call, *arguments in rules:
        number = call if isinstance(call, int) else pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, call)
        if number != UNKNOWN:
            seccomp.add_rule(action, number, *arguments)
    seccomp.load()


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
