"""What a check answers: points and findings, as a number, as text, as HTML, and as data."""

import html
import os
import re
import textwrap
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from . import stale
from .rule import Finding

MIME_TYPE = "application/vnd.autograder.verdict+json"
MARK = "application/vnd.autograder.mark+json"


class CheckFailed(AssertionError):
    """Raised where only an exception's message is shown, as by `nbgrader validate`."""

    def __init__(self, verdict: "Verdict") -> None:
        # `nbgrader validate` cuts lines at 90 characters.
        lines = (textwrap.fill(line, 80) for line in str(verdict).splitlines())
        super().__init__("\n".join(lines))

    def _render_traceback_(self) -> list[str]:
        # IPython's hook: the sentence is what helps here, not the line that raised.
        return str(self).splitlines()


@dataclass
class Verdict:
    """The findings of one check. Its `repr` is the score, which nbgrader reads as partial credit."""

    check: str
    max_points: float
    findings: list[Finding]
    marks: list[str] = field(default_factory=list)  # sentences for a person; they take nothing
    about: tuple[str, ...] = ()  # names of the notebook's variables that were checked
    tried_on: str = ""  # a sentence, shown once above the findings: where their numbers come from

    @property
    def points(self) -> float:
        """max_points less what the findings take off, never below zero."""
        return float(round(max(0, self.max_points - sum(finding.points for finding in self.findings)), 2))

    @property
    def head(self) -> str:
        """What was checked, and how it came out."""
        return f"{self.check}: {self.points:g} of {self.max_points:g} points"

    def out_of(self, points: float) -> "Verdict":
        """Return the same verdict for a check that is worth other points: a finding keeps its share."""
        share = points / self.max_points
        findings = [replace(finding, points=finding.points * share) for finding in self.findings]
        return replace(self, max_points=points, findings=findings)

    def without(self, rules: Collection[str]) -> "Verdict":
        """Return the same verdict in a course where some rules do not count."""
        return replace(self, findings=[finding for finding in self.findings if finding.rule not in rules])

    def __repr__(self) -> str:
        return repr(self.points)

    def __str__(self) -> str:
        said = [self.tried_on] if self.findings and self.tried_on else []
        return "\n".join([f"{self.head}.", *said, *map(str, self.findings)])

    def _ipython_display_(self) -> None:
        if "NBGRADER_EXECUTION" in os.environ:
            raise NotImplementedError  # shown as the cell's result, where nbgrader looks for points
        stale.show(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return self.bundle()

    def bundle(self, outdated: str = "") -> dict[str, Any]:
        """Return the verdict as a MIME bundle. outdated: why it speaks of an older version, if it does."""
        plain = f"Out of date: {self.head}" if outdated else repr(self)
        return {"text/plain": plain, "text/html": self.as_html(outdated), MIME_TYPE: self.as_dict()}

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data."""
        findings = [asdict(finding) for finding in self.findings]
        return {"check": self.check, "points": self.points, "max_points": self.max_points,
                "tried_on": self.tried_on, "findings": findings}  # fmt: skip

    def as_html(self, outdated: str = "") -> str:
        """Return the verdict as a box; told apart by sign and words, not by colour alone."""
        sign, colour = ("✓", "#009E73") if not self.findings else ("✗", "#D55E00")
        said = [
            f"{markup(f.observed)} <b>Expected:</b> {markup(f.expected)}<br>"
            f"{markup(f.why)} <i>→ {markup(f.hint)}</i>"
            for f in self.findings
        ]
        if said and self.tried_on:
            said.insert(0, markup(self.tried_on))
        if outdated:
            sign, colour = "Out of date:", "#8C8C8C"
            said.insert(0, markup(outdated))
        said = said or ["Everything this check looks at is right."]
        body = "".join(f"<p style='margin:.5em 0 0'>{sentence}</p>" for sentence in said)
        return (
            f"<div role='status' style='border-left:5px solid {colour};padding:.5em 1em;"
            f"line-height:1.5;max-width:60em'><b>{html.escape(f'{sign} {self.head}')}</b>{body}</div>"
        )


class Rehearsal(Verdict):
    """The findings of a check that runs ahead of the one that counts: nothing of points."""

    @property
    def head(self) -> str:
        """What was checked, and how it came out."""
        return f"{self.check}, a rehearsal: {'mend this first' if self.findings else 'ready for the run'}"

    def __repr__(self) -> str:
        return self.head


def mark(sentence: str) -> dict[str, str]:
    """Return what asks a person to look at a cell, as a MIME bundle."""
    text = f"For a look by a person: {sentence}"
    box = f"<div role='note' style='border-left:5px solid #CC79A7;padding:.5em 1em'>{html.escape(text)}</div>"
    return {"text/plain": text, "text/html": box, MARK: sentence}


def markup(text: str) -> str:
    """Escape text for HTML; what stands between backticks becomes code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))
