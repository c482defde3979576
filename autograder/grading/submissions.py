"""Find what was submitted, whatever the folders are called: glob patterns take brackets for their own."""

import os
import re
from pathlib import Path

STUDENT = "{student_id}"


def folders(course, assignment, step=None):
    """Return {student: Path} of every student with something in a step of the course, in order of names.

    course: nbgrader's CourseDirectory. step: a directory such as the autograded one; by default the
    submitted one. What stands at the Path may be no folder, or nobody may read it.
    """
    step = step or course.submitted_directory
    parts = Path(course.directory_structure).parts
    place = next(k for k, part in enumerate(parts) if STUDENT in part)
    names = {"nbgrader_step": step, "assignment_id": assignment}
    above = Path(course.root, *(part.format(**names) for part in parts[:place]))
    below = Path(*(part.format(**names, student_id="") for part in parts[place + 1 :]))
    pattern = parts[place].replace(STUDENT, "\0").format(**names)
    pattern = re.compile(re.escape(pattern).replace("\0", "(.+)"), re.DOTALL)
    found = {}
    for name in sorted(os.listdir(above)) if above.is_dir() else []:
        student = pattern.fullmatch(name)
        if student and not name.startswith(".") and os.path.lexists(above / name / below):
            found[student.group(1)] = above / name / below
    return found
