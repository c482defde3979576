"""A class with reflections to grade, as handing in and autograding leave it, made without running anything."""

import copy
import json
import random
from base64 import b64encode
from io import BytesIO

import nbformat
from conftest import ASSIGNMENT, Course
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import compute_checksum, is_grade, is_locked, is_solution
from PIL import Image, ImageDraw

from autograder.grading.by_hand import Scores
from autograder.grading.gradebook import one_connection
from autograder.grading.harmless import Harmless
from autograder.grading.read import grade_id
from autograder.grading.reflections import FORMAT, digest
from autograder.grading.restore import restored

COURSE = "fine-tuning"
SHOWING = ("run", "compare", "fig1")  # cells that are left of the lesson
WORDS = (
    "the loss of my run fell rose jumped stayed from epoch to layer accuracy model rate step weights large small because "
    "then after before retention sentences neighbours direction variance smooth plateau oscillation baseline"
).split()


def shortened(notebook):
    """The lesson's notebook with its reflections, and few of its other cells."""
    short = copy.deepcopy(notebook)
    asked = [n for n, cell in enumerate(short.cells) if cell.cell_type == "markdown" and is_grade(cell)]
    kept = {m for n in asked for m in (n - 1, n)} | {n for n, c in enumerate(short.cells) if c.id in SHOWING}
    short.cells = [cell for n, cell in enumerate(short.cells) if n in kept]
    return short


def questions(notebook):
    return [grade_id(cell) for cell in notebook.cells if cell.cell_type == "markdown" and is_grade(cell)]


def answer(student, question):
    """An answer of some sixty words, which is this student's own, with numbers."""
    drawn = random.Random(f"{student} {question}")
    return " ".join(drawn.choices(WORDS, k=60)) + f". It ended at {drawn.random():.3f} after 10 epochs."


def drawing(student, name, size=(60, 30)):
    """A figure that nobody else has, as an output holds it."""
    picture, drawn = Image.new("RGB", size, "white"), random.Random(f"{student} {name}")
    line = [(x * size[0] // 20, drawn.randrange(size[1])) for x in range(21)]
    ImageDraw.Draw(picture).line(line, fill="#0072B2")
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return b64encode(file.getvalue()).decode()


def handed_in(student, answers, release, solution, draw=drawing):
    """The student's notebook: the solution's outputs, its figures drawn anew, and the answers."""
    notebook = copy.deepcopy(release)
    for cell, solved in zip(notebook.cells, solution.cells):
        if cell.cell_type == "code":
            cell.source, cell.outputs = solved.source, copy.deepcopy(solved.outputs)
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = draw(student, cell.id)
        elif grade_id(cell) in answers:
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


def make(folder, students, release, solution, draw=drawing):
    """Make a Course in which {student: {cell: answer}} was handed in and graded by the machine."""
    course = Course.copy(folder)
    for step, notebook in (("notebooks", release), ("solutions", solution)):
        nbformat.write(notebook, folder / step / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")
    place = f"sqlite:///{folder}/gradebook.db"
    with one_connection(place, COURSE) as connection, connection.begin(), Gradebook(place, COURSE) as gradebook:
        known(gradebook, release)
        for student, answers in students.items():
            first, _, last = student.partition("-")
            gradebook.add_student(student, first_name=first.title(), last_name=last.title())
            notebook = handed_in(student, answers, release, solution, draw)
            lay(folder, "submitted", student, notebook)
            grade(folder, gradebook, student, notebook, release)
        gradebook.db.commit()
    course.directory = CourseDirectory(root=str(folder), course_id=COURSE)
    course.directory.source_directory, course.directory.release_directory = "solutions", "notebooks"
    return course


def grade(folder, gradebook, student, notebook, release):
    """Leave what autograding leaves: a restored notebook, without what `run` printed, and what waits for a person."""
    graded = restored(copy.deepcopy(notebook), release)
    given = {cell.id: cell for cell in release.cells}
    for cell in graded.cells:
        if cell.id == "run":
            cell.outputs = []
        if is_solution(cell):
            cell.metadata.nbgrader.checksum = compute_checksum(given[cell.id])
    lay(folder, "autograded", student, Harmless().preprocess(graded, {})[0])
    submission = gradebook.update_or_create_submission(ASSIGNMENT, student)
    untouched = {grade_id(cell) for cell in graded.cells if cell.source == given[cell.id].source}
    for each in submission.notebooks[0].grades:
        each.auto_score = 0 if each.name in untouched else None
        each.needs_manual_grade = each.auto_score is None or each.manual_score is not None


def lay(folder, step, student, notebook):
    """Write a student's notebook in a step of the course."""
    path = folder / step / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook))  # nbformat would take a third of the time to look whether it is one


def entry(folder, student, cell, known=(None, ""), **given):
    """What the page saves for an answer: points=, comment=."""
    notebook = nbformat.read(folder / "autograded" / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    (found,) = (each for each in notebook.cells if grade_id(each) == cell)
    return {
        "notebook": ASSIGNMENT, "cell": cell, "student": student, "answer": digest(found),
        "known": {"points": known[0], "comment": known[1]}, **given,
    }  # fmt: skip


def save(path, *entries, **changed):
    """Write a SCORES.json; return its path."""
    scores = {"format": FORMAT, "course": COURSE, "assignment": ASSIGNMENT, "scores": [*entries]}
    path.write_text(json.dumps(Scores(**{**scores, **changed}).model_dump()))
    return path


def in_gradebook(folder, student, cell):
    """What the gradebook has of an answer: (points by hand, whether it waits, comment)."""
    with Gradebook(f"sqlite:///{folder}/gradebook.db", COURSE) as gradebook:
        names = cell, ASSIGNMENT, ASSIGNMENT, student
        grade, comment = gradebook.find_grade(*names), gradebook.find_comment(*names)
        return grade.manual_score, grade.needs_manual_grade, comment.manual_comment
