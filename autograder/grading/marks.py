"""What sets a student apart in the report beside points and mistakes, and a class in few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Row


def marks(row: Row, sandbox: bool | None) -> list[tuple[str, str]]:
    """Return [(mark, words)]: what is to be said of a student beside points and mistakes.

    sandbox: of the class; see `sandbox_of`.
    """
    found = []
    if row.not_graded:
        found.append(("not graded", row.not_graded))
        if row.graded:
            found.append(("earlier grade", "the points are those of an earlier submission."))
    elif not (row.submitted or row.graded):
        found.append(("nothing submitted", ""))
    elif not row.submitted:
        found.append(("folder gone", "the points are those of what lay there."))
    if row.late:
        found.append(("late", f"by {duration(row.late)}, penalty {counted(row.penalty, 'point')}."))
    if row.marked:
        found.append(("look", " ".join(row.doubts) or "at the test cells that wait in Formgrader."))
    if row.again:
        found.append(
            ("look again", f"{counted(row.again, 'test cell')} graded by hand, then by machine again.")
        )
    if row.sandbox is False and sandbox is not False:
        found.append(("no sandbox", "it ran without one."))
    return found


def sandbox_of(found: Sequence[Row]) -> bool | None:
    """Return whether the class ran in a sandbox; None if that is not known or not the same for all."""
    values = {row.sandbox for row in found if row.graded} - {None}
    return values.pop() if len(values) == 1 else None


def summary(found: Sequence[Row]) -> str:
    """Return what there is to know of a class in few words."""
    counts = {
        "with a submission that is not graded": sum(bool(row.not_graded) for row in found),
        "handed in nothing": sum(not (row.submitted or row.graded) for row in found),
        "came late": sum(row.late > 0 for row in found),
        "with something to look at": sum(row.marked > 0 for row in found),
        "with answers that wait for a person's grade": sum(row.waiting > 0 for row in found),
    }
    parts = [f"{sum(row.graded for row in found)} of {counted(len(found), 'student')} graded"]
    parts += [f"{count} {words}" for words, count in counts.items() if count]
    walls = {row.walls for row in found if row.graded}
    among = f" ({walls.pop()})" if len(walls) == 1 and "" not in walls else ""
    sandbox = {None: "", True: f" All ran in a sandbox{among}.", False: " None ran in a sandbox."}
    return ", ".join(parts) + "." + sandbox[sandbox_of(found)]


def counted(number: float, noun: str) -> str:
    return f"{number:g} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Return a time in its two largest units: 2 days 3 hours."""
    parts = []
    for noun, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        number, seconds = divmod(seconds, size)
        parts.append(counted(number, noun) if number else "")
    largest = next((k for k, part in enumerate(parts) if part), len(parts) - 1)
    return " ".join(part for part in parts[largest : largest + 2] if part) or "less than a second"
