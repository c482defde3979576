"""Ask the package registry on which systems and Pythons the lesson can be installed; by hand, as it needs uv.

    pip install uv
    python tests/platforms.py       # writes docs/platforms.md; a few minutes

Nothing is installed: uv looks for a set of wheels that fits, with the system's own markers and tags.
"""

import os
import re
import subprocess
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
SYSTEMS = {
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, ARM": "aarch64-manylinux_2_28",
    "Windows, x86-64": "x86_64-pc-windows-msvc",
    "Windows, ARM": "aarch64-pc-windows-msvc",
    "macOS 14, Apple's processors": "aarch64-apple-darwin",
    "macOS 14, Intel's processors": "x86_64-apple-darwin",
}
PYTHONS = ("3.11.2", "3.12", "3.13", "3.14", "3.15", "3.16")
PAGE = """\
# Where it can be installed

Written by `python tests/platforms.py` on {day}, which asks the package registry for wheels that fit and installs
nothing. A cell says which torch is found; "none": there is no set of wheels for this system and this Python.
What to do there: [install.md](install.md).

## With the tested versions, `-c constraints.txt`

{tested}

## The newest that `pyproject.toml` allows

{newest}
"""


def torch_found(system, python, *how):
    """Return the version of torch in a set of wheels that fits, or None where there is none."""
    done = subprocess.run(
        ["uv", "pip", "compile", "--quiet", "--only-binary", ":all:", "--python-platform", system,
         "--python-version", python, *how, ROOT / "pyproject.toml"],
        capture_output=True, text=True, env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
        cwd=tempfile.gettempdir(),
    )  # fmt: skip
    found = re.search(r"^torch==(\S+)", done.stdout, re.MULTILINE)
    if not found and "No solution found" not in done.stderr:
        raise RuntimeError(done.stderr)  # no answer is none
    return found and found[1]


def table(*how):
    lines = [["system", *(f"Python {python}" for python in PYTHONS)], ["---"] * (len(PYTHONS) + 1)]
    for name, system in SYSTEMS.items():
        lines.append([name, *(torch_found(system, python, *how) or "none" for python in PYTHONS)])
        print(lines[-1])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    tables = {"tested": table("--constraint", ROOT / "constraints.txt"), "newest": table()}
    (ROOT / "docs" / "platforms.md").write_text(PAGE.format(day=date.today().isoformat(), **tables))
