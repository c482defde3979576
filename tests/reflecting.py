"""A class with reflections to grade, as handing in and autograding leave it, made without running anything."""

import copy
import random
from base64 import b64encode
from io import BytesIO

import nbformat
from conftest import ASSIGNMENT, Course
from nbgrader.api import Gradebook
from nbgrader.utils import compute_checksum, is_grade, is_locked, is_solution
from PIL import Image, ImageDraw

from autograder.grading.harmless import Harmless
from autograder.grading.read import grade_id
from autograder.grading.restore import restored

COURSE = "fine-tuning"
WORDS = (
    "the loss of my run fell rose jumped stayed from epoch to layer accuracy model rate step weights large small because "
    "then after before retention sentences neighbours direction variance smooth plateau oscillation baseline"
).split()


def answer(student, question):
    """An answer of some sixty words, which is this student's own, with numbers."""
    drawn = random.Random(f"{student} {question}")
    return " ".join(drawn.choices(WORDS, k=60)) + f". It ended at {drawn.random():.2f} after 10 epochs, 0.6123 in mine."


def drawing(student, name, size):
    """A figure that nobody else has, as an output holds it."""
    picture = Image.new("RGB", size, "white")
    drawn = random.Random(f"{student} {name}")
    line = [(x * size[0] // 20, drawn.randrange(size[1])) for x in range(21)]
    ImageDraw.Draw(picture).line(line, fill="#0072B2", width=2)
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return b64encode(file.getvalue()).decode()


def handed_in(student, answers, release, solution, size):
    """The student's notebook: the solution's outputs, its figures drawn anew, and the answers; None is untouched."""
    notebook = copy.deepcopy(release)
    for cell, solved in zip(notebook.cells, solution.cells):
        if cell.cell_type == "code":
            cell.source, cell.outputs = solved.source, copy.deepcopy(solved.outputs)
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = drawing(student, cell.id, size)
                if output.output_type == "stream" and cell.id == "run":
                    output.text = f"Epoch 10, Loss: 0.6123 of {student}\n"
        elif answers.get(grade_id(cell)) is not None:
            cell.source = answers[grade_id(cell)]
    return notebook


def known(gradebook, release):
    """Have a gradebook know the assignment."""
    gradebook.add_assignment(ASSIGNMENT)
    gradebook.add_notebook(ASSIGNMENT, ASSIGNMENT)
    for cell in release.cells:
        if (name := grade_id(cell)) is None:
            continue
        names, kind = (name, ASSIGNMENT, ASSIGNMENT), {"cell_type": cell.cell_type}
        gradebook.add_source_cell(
            *names, source=cell.source, locked=is_locked(cell), checksum=compute_checksum(cell), **kind
        )
        if is_grade(cell):
            gradebook.add_grade_cell(*names, max_score=cell.metadata.nbgrader.points, **kind)
        if is_solution(cell):
            gradebook.add_solution_cell(*names)


def make(folder, students, release, solution, size=(120, 60)):
    """Make a Course in which {student: {cell: answer}} was handed in and graded by the machine."""
    course = Course.copy(folder)
    with Gradebook(f"sqlite:///{folder}/gradebook.db", COURSE) as gradebook:
        known(gradebook, release)
        for student, answers in students.items():
            first, _, last = student.partition("-")
            gradebook.add_student(student, first_name=first.title(), last_name=last.title())
            notebook = handed_in(student, answers, release, solution, size)
            lay(folder, "submitted", student, notebook)
            grade(folder, gradebook, student, notebook, release)
        gradebook.db.commit()
    return course


def grade(folder, gradebook, student, notebook, release):
    """Leave what autograding leaves: the restored notebook, without what was printed, and what waits for a person."""
    graded = restored(copy.deepcopy(notebook), release)
    for cell in graded.cells:
        if cell.id == "run":
            cell.outputs = []
        if is_solution(cell):
            cell.metadata.nbgrader.checksum = compute_checksum(next(c for c in release.cells if c.id == cell.id))
    lay(folder, "autograded", student, Harmless().preprocess(graded, {})[0])
    submission = gradebook.update_or_create_submission(ASSIGNMENT, student)
    untouched = {grade_id(cell): cell.source for cell in release.cells}
    now = {grade_id(cell): cell.source for cell in graded.cells}
    for each in submission.notebooks[0].grades:
        automatic = each.cell.cell_type == "code" or now[each.name] == untouched[each.name]
        each.auto_score = (each.cell.max_score if each.cell.cell_type == "code" else 0) if automatic else None
        each.needs_manual_grade = not automatic or each.manual_score is not None


def lay(folder, step, student, notebook):
    path = folder / step / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
