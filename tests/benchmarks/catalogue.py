"""Right and wrong answers, graded for real.

python tests/benchmarks/catalogue.py    prints how the grader does on them and writes it to
                                        tests/answers/README.md
"""

import re
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import nbformat
from classes import ASSIGNMENT, course, run

from autograder.grading import answers
from autograder.grading.read import grade_id
from autograder.tinybert.lesson import POINTS
from autograder.verdict import MARK, MIME_TYPE

FOLDER = Path(__file__).parent.parent / "answers"
TODOS = ["todo1_optimizer", "todo2_train_tinybert"]
TESTS = ["test_parameter_groups", "test_learning_rate", "test_training_loop", "test_loss_history"]


@dataclass
class Answer:
    """An answer in the catalogue, and what its header says of it."""

    name: str
    right: bool
    text: str

    def header(self, name):
        found = re.search(rf"^{name}: (.+)$", self.text.partition("\n## ")[0], re.MULTILINE)
        return found and found.group(1).strip()

    @property
    def category(self):
        return self.header("Category")

    @property
    def points(self):
        return list(POINTS.values()) if self.right else [int(n) for n in self.header("Points").split()]

    @property
    def rules(self):
        return set() if self.right else set(self.header("Loses").split(", "))

    def missing(self, said):
        """Return the words of `Says` that were not said; # stands for any number."""
        words = [] if self.right else self.header("Says").lower().split("; ")
        patterns = {word: re.escape(word).replace(r"\#", r"[\d.]+") for word in words}
        return [word for word, pattern in patterns.items() if not re.search(pattern, said.lower())]


@dataclass
class Result:
    """What the grader gave an answer."""

    points: list[float]
    rules: set[str]
    said: str
    marks: list[str]
    errors: list[str]  # of the answers and the test cells, by name


def catalogue(folder=FOLDER):
    """Return {name: Answer}."""
    paths = sorted(folder.glob("*/*.md"))
    return {path.stem: Answer(path.stem, path.parent.name == "right", path.read_text()) for path in paths}


def submitted(folder, known):
    """Make a new course in `folder` to which answers {name: Answer} have been submitted."""
    course(folder, students=0)
    notebooks = [folder / name / ASSIGNMENT / f"{ASSIGNMENT}.ipynb" for name in ("notebooks", "solutions")]
    release, solution = (nbformat.read(path, as_version=4) for path in notebooks)
    solved = {grade_id(cell): cell.source for cell in solution.cells if cell.cell_type == "code"}
    for name, answer in known.items():
        cells = {todo: solved[todo] for todo in TODOS} | answers.parse(answer.text)
        target = folder / "submitted" / name / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(answers.fill(release, cells), target)


def graded(folder, known, *command):
    """Grade answers {name: Answer} in a new course in `folder`; return {name: Result}."""
    submitted(folder, known)
    run(folder, *command, ASSIGNMENT)
    return {name: result(folder / "autograded" / name / ASSIGNMENT / f"{ASSIGNMENT}.ipynb") for name in known}


def result(path):
    """Return the Result in a graded notebook."""
    cells = {grade_id(cell): cell for cell in nbformat.read(path, as_version=4).cells}
    found = Result([], set(), "", [], [])
    for name in (*TODOS, *TESTS):
        outputs = cells[name].outputs
        found.errors += [output.ename for output in outputs if output.output_type == "error"]
        if name in TESTS:
            add(found, outputs)
    return found


def add(found, outputs):
    """Add to a Result what a test cell shows: a verdict or an error, and marks."""
    data = [output.get("data", {}) for output in outputs]
    verdict = next((d[MIME_TYPE] for d in data if MIME_TYPE in d), {"points": 0, "findings": []})
    found.points.append(verdict["points"])
    found.rules |= {finding["rule"] for finding in verdict["findings"]}
    found.marks += [d[MARK] for d in data if MARK in d]
    found.said += " ".join(" ".join(map(str, f.values())) for f in verdict["findings"]) + " "
    errors = [output for output in outputs if output.output_type == "error"]
    found.rules |= {"error"} if errors else set()
    found.said += " ".join(output.evalue for output in errors)


def table(known, results):
    """Return the table of how the grader did, by category."""
    counts = defaultdict(lambda: [0, 0, 0, 0])
    for name, answer in known.items():
        row, found = counts[answer.category], results[name]
        row[0 if answer.right else 2] += 1
        row[1] += answer.right and found.points != answer.points
        row[3] += not answer.right and any(p > q for p, q in zip(found.points, answer.points))
    lines = [
        "| category | right answers | of them lost a point | wrong answers | of them got too many |",
        "|---|---:|---:|---:|---:|",
    ]
    total = [sum(column) for column in zip(*counts.values())]
    for category, row in [*sorted(counts.items()), ("all", total)]:
        lines.append(f"| {category} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def main():
    known = catalogue()
    with tempfile.TemporaryDirectory() as folder:
        results = graded(Path(folder, "course"), known, "autograder", "grade")
    text = table(known, results)
    print(text)
    readme = FOLDER / "README.md"
    before = readme.read_text().partition("\n| category")[0]
    readme.write_text(f"{before}\n{text}\n")


if __name__ == "__main__":
    main()
