"""A gradebook and folders as grading leaves them, made without grading anything."""

from contextlib import contextmanager
from datetime import datetime
from functools import cache

from nbgrader import api
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory

LESSON = "lesson"
TESTS = {"test_one": 3.0, "test_two": 11.0}
BY_HAND = {"reflect_one": 6.0, "reflect_two": 8.0}
DUE = datetime(2026, 11, 25, 18, 0)

api.get_alembic_version = cache(api.get_alembic_version)  # it starts a program, for every new gradebook


def make(folder, *students, notebooks=(LESSON,), config=None, assignment=LESSON):
    """Return the CourseDirectory of a course in which so many students have full marks by the machine."""
    course = CourseDirectory(root=str(folder), config=config, course_id="course")
    with opened(course) as gradebook:
        gradebook.add_assignment(assignment, duedate=DUE)
        for notebook in notebooks:
            gradebook.add_notebook(notebook, assignment)
            names = (notebook, assignment)
            for cells, kind in ((TESTS, "code"), (BY_HAND, "markdown")):
                for name, points in cells.items():
                    gradebook.add_source_cell(name, *names, cell_type=kind)
                    gradebook.add_grade_cell(name, *names, max_score=points, cell_type=kind)
                    if cells is BY_HAND:
                        gradebook.add_solution_cell(name, *names)
        for student in students:
            gradebook.add_student(student)
            gradebook.add_submission(assignment, student, timestamp=DUE)
            for notebook in notebooks:
                for name, points in TESTS.items():
                    put(gradebook, student, name, notebook, auto_score=points, needs_manual_grade=False)
    return course


@contextmanager
def opened(course):
    """Open the course's gradebook, and commit what is done to it."""
    with Gradebook(course.db_url, course.course_id) as gradebook:
        yield gradebook
        gradebook.db.commit()


def put(gradebook, student, cell, notebook=LESSON, **values):
    """Set what the gradebook knows of a grade, as Formgrader does."""
    grade = gradebook.find_grade(cell, notebook, LESSON, student)
    for name, value in values.items():
        setattr(grade, name, value)


def lay(folder, step, student, files, assignment=LESSON):
    """Write {name: bytes} to a student's folder in a step of the course."""
    place = folder / step / student / assignment
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place
