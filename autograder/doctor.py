"""`autograder doctor`: what this machine has of what the lesson and its grading need, and how to mend it.

An issue report begins with what it prints: plain text, without names of people, settings or secrets. It
imports nothing but Python's own modules before it has said which others are there.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.metadata import version as version_of
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent
PROJECT = "tinybert-fine-tuning-lesson"
# Of the lesson's data: what a damaged copy may lack.
FILES = (
    "reviews/train.csv", "reviews/validation.csv", "reviews/test.csv", "runs/runs.json",
    "runs/sentences.json", "tinybert/config.json", "tinybert/held_out_sentences.txt",
    "tinybert/model.safetensors", "tinybert/tokenizer.json", "tinybert/tokenizer_config.json",
)  # fmt: skip
LEAST_WEIGHTS = 1_000_000  # bytes: a pointer of Git LFS in their place has some hundred
MEMORY, DISK = 2, 1  # GB that a run of the lesson takes at most, with its kernel; that it leaves on the disk
SECONDS = 180  # for all imports, on a slow disk
IMPORTS = ("torch", "transformers", "datasets", "matplotlib", "ipykernel", "jupyterlab", "nbgrader")
TRY = """
import importlib, sys
for name in sys.argv[1:]:
    print("\\n?", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print("\\n!", name, type(error).__name__, *str(error).split())
"""
INSTALL = "install the lesson again, as docs/install.md or the README of its folder says"


class Line(NamedTuple):
    """One thing that was looked at. state: "ok", "note" (it works all the same) or "NO"; mend: what to do."""

    state: str
    what: str
    said: str
    mend: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; return the exit status: 1 where anything is to be mended, else 0."""
    argparse.ArgumentParser(
        prog="autograder doctor",
        description="Say what this machine has of what the lesson needs. An issue report begins with it.",
    ).parse_args(arguments)
    print(f"autograder doctor, {PROJECT} {about()[0]}")
    wrong = 0
    for look in (python, packages, imports, kernel, threads, memory, disk, data, course, sandbox):
        try:
            for line in look():
                wrong += line.state == "NO"
                show(line)
        except Exception as error:  # whatever is broken here, the rest is of use
            wrong += 1
            show(Line("NO", look.__name__, f"could not be looked at: {type(error).__name__}: {error}"))
    print(f"{wrong} to mend, marked NO." if wrong else "Nothing to mend.")
    return 1 if wrong else 0


def show(line: Line) -> None:
    """Print a line, in ASCII, with ~ for the home folder: its name is often a person's."""
    said, mend = (
        text.replace(os.path.expanduser("~") + os.sep, "~" + os.sep).encode("ascii", "replace").decode()
        for text in (line.said, line.mend)
    )
    room = " " * 15
    print(textwrap.fill(f"{line.state:5}{line.what:10}{said}", 100, subsequent_indent=room))
    if mend:
        print(textwrap.fill(f"-> {mend}", 100, initial_indent=room, subsequent_indent=room + "   "))
    sys.stdout.flush()


def about() -> tuple[str, str, list[str]]:
    """Return the lesson's version, the Pythons that it is for, and what it needs."""
    try:
        project = distribution(PROJECT)
        return project.version, project.metadata["Requires-Python"], project.requires or []
    except PackageNotFoundError:  # a copy that is run where it lies
        own = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
        return own["version"], own["requires-python"], own["dependencies"]


def tested() -> dict[str, str]:
    """Return {package: version} with which the tests passed."""
    for folder in (PACKAGE.parent, PACKAGE / "course"):
        if (folder / "constraints.txt").exists():
            lines = (folder / "constraints.txt").read_text().splitlines()
            pinned = (line.split(";")[0].strip().lower() for line in lines if "==" in line)
            return dict(line.replace("_", "-").split("==") for line in pinned)
    return {}


def python() -> Iterator[Line]:
    """Say which Python this is, and whether there are torch and all others for it."""
    bits = "64" if sys.maxsize > 2**32 else "32"
    said = f"{platform.python_version()}, {bits} bit, {sysconfig.get_platform()}, {sys.executable}"
    wanted = about()[1]
    oldest, after = sorted(tuple(map(int, found)) for found in re.findall(r"(\d+)\.(\d+)", wanted))
    if not oldest <= sys.version_info[:2] < after:
        yield Line("NO", "Python", said, f"take Python {wanted}: there is no torch for this one")
    elif bits == "32":
        yield Line("NO", "Python", said, "install the 64-bit Python: there is no torch for 32 bits")
    elif sysconfig.get_platform().startswith("macosx") and platform.machine() == "x86_64":
        yield Line(
            "NO", "Python", said,
            "there is no newer torch than 2.2 for Macs with an Intel processor: take the lesson online "
            "(docs/install.md); on a Mac with an M processor, install the arm64 Python",
        )  # fmt: skip
    elif sysconfig.get_platform() == "win-arm64":
        yield Line("NO", "Python", said, "install the x86-64 Python for Windows: there is no torch for ARM")
    else:
        yield Line("ok", "Python", said)


def packages() -> Iterator[Line]:
    """Compare the versions of what the lesson needs with its ranges and with the tested ones."""
    if nothing_is_installed():
        here = next(map(str, Path(".venv").glob("*/autograder*")), None)  # bin, on Windows Scripts
        mend = f"there is an environment in this folder: {here} doctor" if here else INSTALL
        yield Line("NO", "packages", "nothing of the lesson is installed in this Python", mend)
        return
    from packaging.requirements import Requirement

    known = tested()
    sorts = [("", "packages")] + [("instructor", "to grade")] * (PACKAGE / "grading").exists()
    for extra, what in sorts:
        found: list[str] = []
        for need in map(Requirement, about()[2]):
            other = need.marker and not need.marker.evaluate({"extra": extra})
            if other or (extra and "extra" not in str(need.marker)):
                continue
            state = "note" if extra else "NO"
            mend = f'python -m pip install "{need.name}{need.specifier}"'
            try:
                version = version_of(need.name)
            except PackageNotFoundError:
                yield Line(state, what, f"{need.name} is missing", mend)
                continue
            if not need.specifier.contains(version, prereleases=True):
                yield Line("NO", what, f"{need.name} is {version}: it has to be {need.specifier}", mend)
            wanted = known.get(need.name.lower(), version)
            same = version.split("+")[0] == wanted
            found.append(f"{need.name} {version}" + ("" if same else f" (tested with {wanted})"))
        tail = "" if any("(" in each for each in found) else ": as tested"
        if found:
            yield Line("ok", what, ", ".join(found) + tail)


def nothing_is_installed() -> bool:
    for package in ("torch", "transformers", "datasets"):
        try:
            version_of(package)
        except PackageNotFoundError:
            continue
        return False
    return True


def imports() -> Iterator[Line]:
    """Import what the notebook does, in a process of its own: a library may be there and not load."""
    if nothing_is_installed():
        return  # said above
    command = [sys.executable, "-c", TRY, *IMPORTS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        yield Line(
            "NO", "imports", f"not done after {SECONDS} s", "try again; leave virus scanners their time"
        )
        return
    failed = [line.split(maxsplit=2)[1:] for line in done.stdout.splitlines() if line.startswith("! ")]
    for name, reason in failed:
        mend = f"python -m pip install --force-reinstall --no-deps {name}"
        if "DLL" in reason:
            mend = "install Microsoft's Visual C++ Redistributable (x64), which torch needs on Windows"
        yield Line("NO", "imports", f"{name} does not load: {reason}", mend)
    if done.returncode:
        last = [line[2:] for line in done.stdout.splitlines() if line.startswith("? ")][-1:]
        said = f"{' '.join(last) or 'Python'} ended the process with status {done.returncode}"
        yield Line("NO", "imports", said, INSTALL)
    elif not failed:
        yield Line("ok", "imports", ", ".join(IMPORTS))


def kernel() -> Iterator[Line]:
    """Say whether notebooks run in this Python: another's kernel of the same name is found first at times."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        return  # said above
    program = KernelSpecManager().get_kernel_spec("python3").argv[0]  # "python" is this one
    if os.path.isabs(program) and Path(program).parent != Path(sys.executable).parent:
        yield Line(
            "NO", "kernel", f"notebooks run in {program}, another Python",
            "python -m ipykernel install --sys-prefix, then start JupyterLab from this environment",
        )  # fmt: skip
    else:
        yield Line("ok", "kernel", "notebooks run in this Python")


def threads() -> Iterator[Line]:
    """Say how many processors the lesson may use."""
    try:
        from .tinybert.threads import allowed_threads
    except ModuleNotFoundError:
        return  # a copy for another notebook
    allowed = allowed_threads()
    mend = "close other programs: with one, the lesson's three minutes are about five" if allowed == 1 else ""
    yield Line("note" if mend else "ok", "threads", f"{allowed} of {os.cpu_count()} processors", mend)


def memory() -> Iterator[Line]:
    """Say how much memory there is, in a container too."""
    try:
        import psutil
    except ImportError:
        return
    here = psutil.virtual_memory()
    total, free = here.total, here.available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (most := limit.read_text().strip()).isdecimal():
        total, free = min(total, int(most)), min(free, int(most))
    mend = "" if free > MEMORY * 1e9 else f"close other programs: the lesson takes up to {MEMORY} GB"
    said = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free"
    yield Line("note" if mend else "ok", "memory", said, mend)


def disk() -> Iterator[Line]:
    """Say how much room there is where one works and for temporary files."""
    for what, folder in {"this folder": ".", "temporary files": tempfile.gettempdir()}.items():
        free = shutil.disk_usage(folder).free
        mend = "" if free > DISK * 1e9 else f"make room: {DISK} GB"
        yield Line("NO" if mend else "ok", "disk", f"{free / 1e9:.1f} GB are free for {what}", mend)


def data() -> Iterator[Line]:
    """Say whether model, reviews and runs are complete."""
    try:
        from .tinybert.lesson import data_folder
    except ModuleNotFoundError:
        return
    try:
        folder = data_folder()
    except FileNotFoundError as error:
        yield Line("NO", "lesson", str(error))
        return
    missing = [name for name in FILES if not (folder / name).is_file()]
    weights = folder / "tinybert" / "model.safetensors"
    if missing:
        yield Line("NO", "lesson", f"data/ lacks {', '.join(missing)}", INSTALL)
    elif weights.stat().st_size < LEAST_WEIGHTS:
        yield Line("NO", "lesson", "data/tinybert/model.safetensors is no model", INSTALL)
    else:
        yield Line("ok", "lesson", f"model, reviews and runs are complete in {folder}")


def course() -> Iterator[Line]:
    """Say whether the folder that this is started in is a course that can be graded."""
    config = Path("nbgrader_config.py")
    if not (PACKAGE / "grading").exists():
        return  # a student's copy
    if not config.exists():
        yield Line("ok", "course", "none in this folder; to look at one, start this there")
        return
    said = re.search(r"""CourseDirectory\.source_directory\s*=\s*["'](.+?)["']""", config.read_text())
    source = said[1] if said else "source"
    found = sorted(path.stem for path in Path(source).glob("*/*.ipynb") if path.stem == path.parent.name)
    if found:
        yield Line("ok", "course", f"{source}/ has {', '.join(found)}")
    else:
        yield Line(
            "NO", "course", f"{source}/ has no notebook NAME/NAME.ipynb",
            "put one there, or make a course with the lesson's: autograder new-course FOLDER",
        )  # fmt: skip


def sandbox() -> Iterator[Line]:
    """Say whether students' code can be locked in while it is graded."""
    if not (PACKAGE / "grading").exists():
        return  # a student's copy
    if sys.platform == "win32":
        yield Line(
            "note", "sandbox", "Windows cannot grade; the lesson itself runs", "grade on Linux, or in WSL"
        )
        return
    from .kernels.namespaces import refused
    from .kernels.sandbox import missing

    if reason := missing():
        yield Line(
            "note", "sandbox", f"none: {reason}",
            "grade on a Linux from 6.2 on; c.WarmProvisioner.require_sandbox = True refuses to grade without",
        )  # fmt: skip
    elif reason := refused():
        yield Line(
            "ok", "sandbox", f"students' code is locked in, by Landlock and seccomp; no namespaces: {reason}",
            "docs/sandbox.md says what these add; on Ubuntu, kernel.apparmor_restrict_unprivileged_userns=0",
        )  # fmt: skip
    else:
        yield Line("ok", "sandbox", "students' code is locked in, by namespaces, Landlock and seccomp")
