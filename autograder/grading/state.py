"""What grading remembers of an assignment beside the gradebook: a JSON file in the course's root folder."""

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .faults import InstallationFault

FOLDER = ".autograder"


class State:
    """What the last runs said of one assignment.

    not_graded: {student: one sentence that says why}. solution: the key under which the solution got
    every point; see `Grade.check_key`. evidence: what it left, see `solution.check`.
    """

    def __init__(self, root: str | Path, assignment: str) -> None:
        self.path = Path(root, FOLDER, f"{assignment}.json")
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.not_graded, self.solution = dict(found["not_graded"]), found["solution"]
            self.evidence = dict(found["evidence"])
        except (OSError, ValueError, KeyError, TypeError):
            self.not_graded, self.solution, self.evidence = {}, None, {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs on this assignment out. Raises InstallationFault where one is under way."""
        self.path.parent.mkdir(exist_ok=True)
        try:
            with FileLock(self.path.with_suffix(".lock"), timeout=0):
                yield
        except Timeout:
            raise InstallationFault(
                f"Another `autograder grade` is at work on {self.path.stem}: wait for its end, or stop it."
            ) from None

    def save(self) -> None:
        """Write the file, as a whole or not at all. Raises OSError where the course cannot be written to."""
        self.path.parent.mkdir(exist_ok=True)
        partial = self.path.with_suffix(".partial")
        kept = {name: getattr(self, name) for name in ("not_graded", "solution", "evidence")}
        partial.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        os.replace(partial, self.path)

    def evidence_path(self, student: str) -> Path:
        """Return where a student's evidence is kept."""
        return Path(self.path.parent, "evidence", self.path.stem, student)

    def keep(self, student: str, ran: str, evidence: dict[str, dict[str, str]]) -> None:
        """Keep {notebook: {grade id: evidence}} of a submission. ran: see `Grade.ran`."""
        path = self.evidence_path(student)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps([ran, evidence]).encode(errors="surrogatepass"), 1))

    def kept(self, student: str, ran: str) -> dict[str, dict[str, str]] | None:
        """Return the evidence that is kept of a submission; None if it is of another, or damaged."""
        try:
            of, evidence = json.loads(gzip.decompress(self.evidence_path(student).read_bytes()))
        except (OSError, EOFError, ValueError):
            return None
        return evidence if of == ran else None
