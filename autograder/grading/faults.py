"""What is not the student's doing: such submissions are not graded, and tried again the next time."""


class InstallationFault(Exception):
    """The installation, the course or the machine is at fault. Its text is one sentence that says how."""


class NotGraded(Exception):
    """There is nothing to grade in one student's submission. Its text is one sentence that says why."""
