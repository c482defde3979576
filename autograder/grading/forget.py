"""Remove all that a course keeps of one student."""

import shutil
from itertools import product
from pathlib import Path

from nbgrader.api import MissingEntry
from nbgrader.coursedir import CourseDirectory

from .gradebook import opened
from .state import State
from .submissions import STUDENT, assignments, folders


def belongings(course: CourseDirectory, student: str) -> list[Path]:
    """Return the folders and files that a course has of a student, in every step of every assignment.

    Where the assignments of a student lie in one folder, it is that one, with all that missed its place.
    """
    steps = (course.submitted_directory, course.autograded_directory, course.feedback_directory)
    together = Path(course.directory_structure).parts[-2] == STUDENT
    found = []
    for step, assignment in product(steps, known(course)):
        if together:
            found += named(student, Path(course.format_path(step, student, assignment)).parent)
        elif path := folders(course, assignment, step).get(student):
            found.append(path)
    for assignment in known(course):
        found += named(student, State(course.root, assignment).evidence_path(student))
    return [*dict.fromkeys(found)]


def named(student: str, path: Path) -> list[Path]:
    """Return the student's own path, if there is one: "." and ".." lead to what is others'."""
    return [found for found in path.parent.glob("*") if found.name == path.name == student]


def forget(course: CourseDirectory, student: str) -> None:
    """Remove a student's belongings, and what the gradebook and the last runs say of them."""
    for path in belongings(course, student):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for assignment in known(course):
        state = State(course.root, assignment)
        if state.not_graded.pop(student, None):
            state.save()
    with opened(course) as gradebook:
        try:
            gradebook.remove_student(student)
        except MissingEntry:
            pass


def students(course: CourseDirectory) -> list[str]:
    """Return the students that the gradebook knows."""
    with opened(course) as gradebook:
        return [student.id for student in gradebook.students]


def known(course: CourseDirectory) -> list[str]:
    """Return the assignments that the course has, or that its gradebook remembers."""
    return sorted({*graded(course), *assignments(course)})


def graded(course: CourseDirectory) -> list[str]:
    """Return the assignments that the gradebook knows."""
    with opened(course) as gradebook:
        return [assignment.name for assignment in gradebook.assignments]
