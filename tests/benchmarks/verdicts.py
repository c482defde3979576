"""What answers get at home and in grading, with many seeds and without a notebook's kernel.

    python tests/benchmarks/verdicts.py --seeds 10 [--answers PATTERN]

prints the answers whose verdicts are not the same in all, and how many are marked for a person, and writes
both to tests/benchmarks/verdicts.md.
"""

import argparse
import fnmatch
import json
import os
import pickle
import signal
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import nbformat
from catalogue import FOLDER, TESTS, Answer, catalogue
from classes import ASSIGNMENT, ROOT
from tqdm import tqdm

SECONDS = 120  # that an answer may take
RIGHT = Answer("the solution", True, "")
CALLS = {
    "test_parameter_groups": "check_parameter_groups(optimizer, model{})",
    "test_learning_rate": "check_learning_rate(optimizer, model{})",
    "test_training_loop": "check_training_loop(train_tinybert{})",
    "test_loss_history": "check_loss_history(train_tinybert, losses, training_run{})",
}
CHECKS = [call.split("(")[0] for call in CALLS.values()]


@dataclass
class Found:
    """What checks said of an answer: points by test cell, rules broken, sentences, marks."""

    points: list[float] = field(default_factory=list)
    rules: set[str] = field(default_factory=set)
    said: str = ""
    marks: list[str] = field(default_factory=list)

    def add(self, verdict):
        """Add a Verdict, or None for a check that stopped with an error."""
        self.points.append(verdict.points if verdict else 0.0)
        self.rules |= {f.rule for f in verdict.findings} if verdict else {"error"}
        self.said += (
            " ".join(" ".join(map(str, vars(f).values())) for f in verdict.findings) if verdict else ""
        )
        self.marks += verdict.marks if verdict else []


@cache
def cells():
    """Return the sources of the solution's cells, by grade id."""
    notebook = nbformat.read(ROOT / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in code if "nbgrader" in cell.metadata}


@cache
def shell():
    """Return a shell that has run the set-up, as grading does."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    os.environ |= {"NBGRADER_EXECUTION": "autograde", "TOKENIZERS_PARALLELISM": "false"}
    found = InteractiveShell.instance()
    for name, source in cells().items():
        if name == "todo1_optimizer":
            found.run_cell(f"from autograder.tinybert.checks import {', '.join(CHECKS)}").raise_error()
            return found
        with capture_output():
            found.run_cell(source).raise_error()


def collected(task):
    """Return ({test: Verdict or None} at home, {seed: {test: evidence or None}}) of (answer, seeds).

    Runs in a fork of this process, so that no answer meets another's.
    """
    shell()
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
        content = in_a_fork(*task, folder)
    return pickle.loads(content) if content else ({}, {seed: {} for seed in task[1]})


def in_a_fork(*task):
    """Return what run(*task) returns, pickled; nothing where the process did not come to its end."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.close(reading)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            with os.fdopen(writing, "wb") as file:
                pickle.dump(run(*task), file)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        content = file.read()
    os.waitpid(child, 0)
    return content


def run(answer, seeds, folder):
    """Do what `collected` says, in this process."""
    from autograder.evidence import MIME_TYPE
    from autograder.grading.answers import parse

    signal.alarm(SECONDS + SECONDS // 6 * len(seeds))
    os.chdir(folder)
    sys.path.append("")
    code = cells() | parse(answer.text)
    home, graded = {}, {seed: {} for seed in seeds}

    def shown(test, given, environment):
        os.environ.pop("NBGRADER_EXECUTION", None)
        os.environ |= environment
        return shell().run_cell(CALLS[test].format(given)).result

    def look(test):
        home[test] = shown(test, "", {})
        for seed in seeds:
            left = shown(test, f", seed={seed}", {"NBGRADER_EXECUTION": "autograde"})
            graded[seed][test] = left and left._repr_mimebundle_()[MIME_TYPE]

    shell().run_cell(code["todo1_optimizer"])
    look("test_parameter_groups")
    look("test_learning_rate")
    shell().run_cell(code["todo2_train_tinybert"])
    look("test_training_loop")
    shell().run_cell(code["run"])
    look("test_loss_history")
    return home, graded


def verdicts(answers, seeds, processes=None):
    """Yield (name, Found at home, [Found in grading with each seed]) of {name: Answer}."""
    from autograder.tinybert.examiner import Examiner

    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=one_thread) as pool:
        found = pool.map(collected, ((a, seeds) for a in (RIGHT, *answers.values())))
        _, solution = next(found)
        for name, (home, graded) in zip(answers, found):
            at_home = Found()
            for test in TESTS:
                at_home.add(home.get(test))
            in_grading = []
            for seed in seeds:
                examiner, result = Examiner(solution[seed], seed), Found()
                for test in TESTS:
                    left = graded[seed].get(test)
                    result.add(examiner.verdict(test, left) if left else None)
                in_grading.append(result)
            yield name, at_home, in_grading


def one_thread():
    os.environ["OMP_NUM_THREADS"] = "1"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--answers", default="*")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of answers in the catalogue's format")
    settings = parser.parse_args()
    known = {n: a for n, a in catalogue(settings.folder).items() if fnmatch.fnmatchcase(n, settings.answers)}
    counts, lines = Counter(), []
    for name, home, graded in tqdm(verdicts(known, range(settings.seeds)), total=len(known)):
        all_ = [home, *graded]
        said = sorted({json.dumps([found.points, sorted(found.rules)]) for found in all_})
        marks = {mark for found in graded for mark in found.marks}
        marked = sum(bool(found.marks) for found in graded)
        counts.update(answers=1, different=int(len(said) > 1), marked=marked, verdicts=len(graded))
        if len(said) > 1:
            lines.append(f"- `{name}`: {' or '.join(said)}")
        if marks:
            lines.append(f"- `{name}`: marked with {marked} of {len(graded)} seeds. {' '.join(marks)}")
        expected = known[name].points
        if home.points != expected or home.rules != known[name].rules:
            lines.append(f"- `{name}`: expected {expected} {sorted(known[name].rules)}, found {said[0]}")
    text = (
        f"{counts['answers']} answers, at home and in grading with {settings.seeds} seeds: {counts['different']} "
        f"with other points or rules in one of them; {counts['marked']} of {counts['verdicts']} verdicts marked "
        f"for a person.\n\n" + "\n".join(lines) + "\n"
    )
    print(text)
    if settings.answers == "*" and settings.folder == FOLDER:
        (ROOT / "tests" / "benchmarks" / "verdicts.md").write_text(text)


if __name__ == "__main__":
    import verdicts  # a shell takes the place of __main__, where functions could not be found again

    verdicts.main()
