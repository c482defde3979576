"""Remove all that a course keeps of one student."""

import shutil
from pathlib import Path

from nbgrader.api import MissingEntry
from nbgrader.coursedir import CourseDirectory

from .gradebook import opened
from .state import State
from .submissions import assignments, folders


def belongings(course: CourseDirectory, student: str) -> list[Path]:
    """Return the folders and files that a course has of a student, in every step of every assignment."""
    steps = (course.submitted_directory, course.autograded_directory, course.feedback_directory)
    found = []
    for assignment in known(course):
        found += [folders(course, assignment, step).get(student) for step in steps]
        found.append(State(course.root, assignment).evidence_path(student))
    return [path for path in found if path and path.exists()]


def forget(course: CourseDirectory, student: str) -> None:
    """Remove a student's belongings, and what the gradebook and the last runs say of them."""
    for path in belongings(course, student):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if path.parent.name == student and not any(path.parent.iterdir()):
            path.parent.rmdir()
    for assignment in known(course):
        state = State(course.root, assignment)
        if state.not_graded.pop(student, None):
            state.save()
    with opened(course) as gradebook:
        try:
            gradebook.remove_student(student)
        except MissingEntry:
            pass


def known(course: CourseDirectory) -> list[str]:
    """Return the assignments that the course has, or that its gradebook remembers."""
    return sorted({*graded(course), *assignments(course)})


def graded(course: CourseDirectory) -> list[str]:
    """Return the assignments that the gradebook knows."""
    with opened(course) as gradebook:
        return [assignment.name for assignment in gradebook.assignments]
