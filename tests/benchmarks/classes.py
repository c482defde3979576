"""Classes to grade: a course in a temporary folder, with submissions drawn from the sample class."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook

from autograder.grading import answers

ROOT = Path(__file__).parent.parent.parent
ASSIGNMENT = "08_tinybert_fine_tuning"

STOCK = """
c = get_config()
c.CourseDirectory.course_id = "fine-tuning"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
c.ClearSolutions.enforce_metadata = False  # as in the project's: it concerns the release alone
"""

NO_POINTS = """
c.SolutionCheck.expected = dict.fromkeys(
    ("test_parameter_groups", "test_learning_rate", "test_training_loop", "test_loss_history"), 0
)
"""


def course(folder, students, stock=False, light=False):
    """Make a course in `folder` with so many students.

    stock: nbgrader's own configuration in place of the project's. light: notebooks whose cells
    take no time, to see what everything else costs.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "solutions", folder / "solutions")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    (folder / ".secret").write_text("the same probes in every run")
    if stock:
        (folder / "nbgrader_config.py").write_text(STOCK)
    if light:
        path = folder / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        nbformat.write(lightened(nbformat.read(path, 4)), path)
        with open(folder / "nbgrader_config.py", "a") as config:
            config.write(NO_POINTS)
    run(folder, "nbgrader", "generate_assignment", ASSIGNMENT, "--force")
    release = nbformat.read(folder / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", 4)
    texts = {path.stem: path.read_text() for path in sorted((ROOT / "data" / "sample_class").glob("*.md"))}
    known = [texts[name] for name in texts if name not in ("README", "endless-loop")]
    for number in range(students):
        target = folder / "submitted" / f"student-{number:04}" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(answers.fill(release, answers.parse(known[number % len(known)])), target)
    return folder


def lightened(notebook):
    """Return the notebook with locked cells that do nothing; it leaves no evidence to judge."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = "pass"
    return notebook


def scores(folder, database=None, assignment=ASSIGNMENT):
    """Return {student: {cell: points}} of the course's gradebook: the machine's."""
    with Gradebook(database or f"sqlite:///{folder}/gradebook.db", "fine-tuning") as gradebook:
        return {
            entry.student.id: {
                grade.name: grade.auto_score for notebook in entry.notebooks for grade in notebook.grades
            }
            for entry in gradebook.assignment_submissions(assignment)
        }


def environment():
    """Return the environment in which nbgrader finds alembic, which it looks for on the PATH."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(folder, *command):
    """Run a program of this environment in `folder`. Raises CalledProcessError if it fails."""
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, env=environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
