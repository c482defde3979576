"""Answers as their test cells left them, to be judged again and again without a kernel."""

import copy
import pickle
import shutil
from functools import cache

import nbformat
from catalogue import TESTS, submitted
from classes import ASSIGNMENT, ROOT, run
from tqdm import tqdm

from autograder import draws, evidence
from autograder.grading.execute import Execute
from autograder.grading.read import grade_id
from autograder.grading.reference import Reference
from autograder.grading.score import could_not_run, without_outputs
from autograder.records import TrainingRecord
from autograder.verdict import MIME_TYPE

# For a course's configuration: evidence stays in the notebooks as it is, and nobody looks for points.
UNSCORED = """
class SaveAutoGrades(SaveAutoGrades):
    def preprocess(self, nb, resources):
        return nb, resources

c.Autograde.autograde_preprocessors = [Execute, SaveAutoGrades]
"""


class Record:
    """A submission as its test cells left it, and all that a Reference could be asked about it."""

    def __init__(self, path, secret, reference):
        notebook = nbformat.read(path, as_version=4)
        self.seed = Execute(secret=secret).seed(notebook, path.parent)
        cells = {grade_id(cell): cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
        self.shown = {test: shown(cells[test]) for test in TESTS}
        self.right = reference.optimizer(self.seed), reference.training(self.seed)
        self.done = {}
        try:
            left = self.shown[TESTS[2]]
            trials = evidence.read(None if isinstance(left, dict) else left, TrainingRecord).trials
        except evidence.Malformed:
            trials = []
        for number, trial in enumerate(trials[: len(self.right[1].trials)]):
            try:
                self.done[number] = reference.rerun(trial, number, self.seed)
            except evidence.Malformed as error:
                self.done[number] = error

    # As the examiner asks a Reference:

    def optimizer(self, seed):
        return self.right[0]

    def training(self, seed):
        return self.right[1]

    def rerun(self, trial, number, seed):
        if isinstance(self.done[number], Exception):
            raise self.done[number]
        return self.done[number]


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
        reference = Reference(nbformat.reads(solution(), as_version=4), "warm")
        for name in tqdm(missing, desc="asking the reference"):
            path = course / "autograded" / name / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
            found = Record(path, (course / ".secret").read_text(), reference)
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(found))
        reference.close()
        shutil.rmtree(course)
    return {name: pickle.loads((folder / f"{name}.pickle").read_bytes()) for name in known}


def solution():
    """Return the solution notebook as JSON, as the grader sees it."""
    path = ROOT / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    return without_outputs(path, path.stat().st_mtime_ns)


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
    return copy.copy(found)  # the examiner replaces some of its fields


# Judging the catalogue a thousand times should not parse it, and draw from it, a thousand times.
original_read, evidence.read = evidence.read, read
draws.gradients = cache(draws.gradients)


def judged(found, examiner, tests=TESTS):
    """Return {test: output} of test cells, as the examiner scores what they left."""
    outputs = {}
    for test in tests:
        left = found.shown[test]
        if isinstance(left, dict):
            outputs[test] = could_not_run(left)
        else:
            verdict = examiner.verdict(test, left).as_dict()
            outputs[test] = {"output_type": "execute_result", "data": {MIME_TYPE: verdict}}
    return outputs
