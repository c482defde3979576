"""The set-up of a notebook: its locked cells before the first that a student may write.

It is the same for every submission whose cells and files are the assignment's own up to there, so it
can be run once for all of them; see `kernels.template`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_locked, is_solution

from ..cells import counts
from .read import grade_id

FAILS = "raises-exception"  # Jupyter's tag of cells that are meant to


def setup(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return the cells of the set-up, of those of a notebook."""
    found = []
    for cell in counts(cells):
        may_fail = FAILS in cell.metadata.get("tags", [])
        if not is_locked(cell) or is_solution(cell) or is_grade(cell) or may_fail:
            if cell.source.strip():  # else it is not run
                break
        else:
            found.append(cell)
    return found


def named(cells: Iterable[NotebookNode]) -> list[list[str | None]]:
    """Return [[name, source]] of cells, as `WarmProvisioner.setup` takes them."""
    return [[grade_id(cell), cell.source] for cell in cells]


def digest(notebook: NotebookNode, files: Mapping[str, bytes]) -> str:
    """Return a digest of a notebook's set-up and of the files beside it, {path: bytes}."""
    found = hashlib.sha256(json.dumps(named(setup(notebook.cells))).encode())
    for name, content in sorted(files.items()):
        if is_own(name):
            found.update(f"\0{name}\0{hashlib.sha256(content).hexdigest()}".encode(errors="surrogatepass"))
    return found.hexdigest()


def files_in(folder: str | Path) -> dict[str, bytes]:
    """Return {path: bytes} of a folder's files. Raises OSError where there is anything but files."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise OSError(f"{path} is no file.")
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def is_own(name: str) -> bool:
    """Whether a file could matter to the set-up: notebooks are not kept, timestamp.txt is nbgrader's."""
    return not name.endswith(".ipynb") and name != "timestamp.txt"
