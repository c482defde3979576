"""Answers as their test cells left them, to be judged again and again without a kernel."""

import copy
import pickle
import shutil
from dataclasses import dataclass
from functools import cache

import nbformat
from catalogue import TESTS, submitted
from classes import ASSIGNMENT, run

from autograder import evidence
from autograder.grading.execute import seed
from autograder.grading.read import grade_id
from autograder.grading.score import could_not_run
from autograder.grading.state import State
from autograder.tinybert import LESSON, draws
from autograder.verdict import MARK, MIME_TYPE

# For a course's configuration: evidence stays in the notebooks as it is, and nobody looks for points.
UNSCORED = """
class SaveAutoGrades(SaveAutoGrades):
    def preprocess(self, nb, resources):
        return nb, resources

c.Autograde.autograde_preprocessors = [Execute, SaveAutoGrades]
"""


@dataclass
class Record:
    """A submission as its test cells left it, and what it is compared with."""

    seed: int
    shown: dict  # {test: evidence as text, None if there is none, or an error output}
    solution: dict  # {test: evidence as text}


def shown(outputs):
    """Return a test cell's evidence as text, None if there is none, or an error output."""
    errors = [output for output in outputs if output.output_type == "error"]
    found = [o.data[evidence.MIME_TYPE] for o in outputs if evidence.MIME_TYPE in o.get("data", {})]
    return errors[0] if errors else found[-1] if found else None


def record(known, folder):
    """Return {name: Record} of answers, from `folder` where they have been recorded before."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name: answer for name, answer in known.items() if not (folder / f"{name}.pickle").exists()}
    if missing:
        course = folder / "course"
        if not course.exists():
            submitted(course, missing)
            with open(course / "nbgrader_config.py", "a") as file:
                file.write(UNSCORED)
        run(course, "autograder", "grade", ASSIGNMENT)
        number = seed((course / ".secret").read_text())
        solution = State(course, ASSIGNMENT).evidence[ASSIGNMENT]
        for name in missing:
            path = course / "autograded" / name / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
            cells = {grade_id(cell): cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells}
            found = Record(number, {test: shown(cells[test]) for test in TESTS}, solution)
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(found))
        shutil.rmtree(course)
    return {name: pickle.loads((folder / f"{name}.pickle").read_bytes()) for name in known}


@cache
def parsed(text, kind):
    try:
        return original_read(text, kind)
    except evidence.Malformed as error:
        return error


def read(text, kind):
    """Do what `evidence.read` does, once for each text."""
    found = parsed(text, kind)
    if isinstance(found, Exception):
        raise found
    return copy.copy(found)


# Judging the catalogue a thousand times should not parse it, and draw from it, a thousand times.
original_read, evidence.read = evidence.read, read
draws.gradients = cache(draws.gradients)


def judged(found, examiner, tests=TESTS):
    """Return {test: outputs} of test cells, as an Examiner scores what they left."""
    outputs, examiner = {}, examiner(found.solution, found.seed)
    for test in tests:
        left = found.shown[test]
        if isinstance(left, dict):
            outputs[test] = [could_not_run(left, LESSON)]
        else:
            verdict = examiner.verdict(test, left)
            data = [{MIME_TYPE: verdict.as_dict()}, *({MARK: said} for said in verdict.marks)]
            outputs[test] = [{"output_type": "display_data", "data": shown} for shown in data]
    return outputs
