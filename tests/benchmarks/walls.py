"""Which wall stops which attack: each attack is graded with all walls, and with one of them taken down.

    python tests/benchmarks/walls.py [ATTACK ...]

Prints, and writes to tests/benchmarks/walls.md, what gets through without each wall. A wall is taken down in a
copy of the package, by a function that does nothing; the others stand, so that nothing happens to this machine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_suffix(".md")
# What is taken down, and how: a file, what stands there, and what takes its place.
WALLS = {
    "none": None,
    "namespaces": ("kernels/server.py", "    return namespaces.refused()", '    return "taken down"'),
    "Landlock": ("kernels/sandbox.py", "        ruleset.restrict()", "        pass"),
    "seccomp": ("kernels/sandbox.py", "    seccomp.load()", "    pass"),
    "memory limit": ("kernels/sandbox.py", "        resource.RLIMIT_AS: size + limits.memory,\n", ""),
}
KINDS = (
    "hold-up-", "end-oneself-", "say-", "mute-", "flood-", "talk-", "look-", "make-", "use-", "disk-held", "read-the-",
    "read-solution-open", "overwrite-classmate", "fetch-page", "kill-parent", "fork-child", "memory-bytes", "run-cat",
)  # fmt: skip


def without(wall: str, names: list[str], folder: Path) -> set[str]:
    """Return the attacks that get through, by their own tests, where one wall is down."""
    for part in ("autograder", "tests", "data", "solutions", "notebooks", "pyproject.toml", "nbgrader_config.py"):
        source = ROOT / part
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / part, ignore=ignore) if source.is_dir() else shutil.copy(source, folder)
    if change := WALLS[wall]:
        path = folder / "autograder" / change[0]
        source = path.read_text()
        assert source.count(change[1]) == 1, f"{change[1].strip()!r} does not stand in {path.name} once"
        path.write_text(source.replace(*change[1:]))
    tests = [f"tests/test_attacks.py::test_attack_gains_nothing[{name}]" for name in names]
    command = [sys.executable, "-m", "pytest", "-rf", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, capture_output=True, text=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {name for name in names for line in failed if f"[{name}]" in line}


def main(wanted: list[str]) -> None:
    known = sorted(path.stem for path in (ROOT / "tests" / "attacks").glob("*.md") if path.stem != "README")
    names = [name for name in known if name in wanted or not wanted and name.startswith(KINDS)]
    through = {}
    for wall in tqdm(WALLS, unit="wall"):
        with TemporaryDirectory() as folder:
            through[wall] = without(wall, names, Path(folder))
    columns = [wall for wall in WALLS if wall != "none"]
    lines = [
        "# Which wall stops which attack",
        "",
        "Made by `python tests/benchmarks/walls.py`. *through*: with this wall down, and the others up, the attack's own",
        "test fails. Where no column says so, at least two walls stop it.",
        "",
        "| attack | all walls | " + " | ".join(f"no {wall}" for wall in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for name in names:
        cells = ["through" if name in through[wall] else "held" for wall in ("none", *columns)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    TABLE.write_text("\n".join(lines) + "\n")
    print(TABLE.read_text())


if __name__ == "__main__":
    main(sys.argv[1:])
