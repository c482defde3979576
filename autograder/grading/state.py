"""What grading remembers of an assignment beside the gradebook: a JSON file in the course's root folder."""

import json
import os
from pathlib import Path

FOLDER = ".autograder"


class State:
    """What the last runs said of one assignment.

    not_graded: {student: one sentence that says why}. solution: the key under which the solution got
    every point; see `Grade.check_key`.
    """

    def __init__(self, root, assignment):
        self.path = Path(root, FOLDER, f"{assignment}.json")
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.not_graded, self.solution = dict(found["not_graded"]), found["solution"]
        except (OSError, ValueError, KeyError, TypeError):
            self.not_graded, self.solution = {}, None

    def save(self):
        """Write the file, as a whole or not at all. Raises OSError where the course cannot be written to."""
        self.path.parent.mkdir(exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(
            json.dumps({"not_graded": self.not_graded, "solution": self.solution}, indent=1), encoding="utf-8"
        )
        os.replace(partial, self.path)
