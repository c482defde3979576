"""The class on one page: how the totals spread, which mistakes lead, every loss curve, every row."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ..verdict import markup
from .marks import marks, sandbox_of, summary
from .text import clean

if TYPE_CHECKING:
    from .report import Points, Row

COIN_TOSS = math.log(2)  # the loss of a classifier that gives both of two classes one half
HANDFUL = 6  # so many names stand in the open, more are folded
SHOWN = 12  # so many mistakes stand in the open; of a large class many are one student's own
WIDTH, HEIGHT, MARGIN = 160, 88, 5  # of a curve's drawing
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
NAMES = re.compile(r"`[^`]*`(?:, `[^`]*`)*(?: and \d+ more)?")


def page(assignment: str, cells: Points, rows: Sequence[Row], by_hand: Points | None = None) -> str:
    """Return the report on a class as one HTML page that needs nothing else.

    cells: max points by test cell. rows: their `feedback` is a path relative to this page, as it is
    on disk. by_hand: max points by cell that a person grades.
    """
    best, graded = sum(cells.values()), [row for row in rows if row.graded]
    seconds = [row.seconds for row in graded if is_number(row.seconds)]
    totals, sandbox = [row.total for row in graded], sandbox_of(rows)
    return template().render(
        assignment=assignment,
        cells=cells,
        rows=rows,
        graded=graded,
        best=best,
        by_hand=sum((by_hand or {}).values()),
        summary=summary(rows),
        marks=[marks(row, sandbox) for row in rows],
        totals=totals,
        seconds=statistics.median(seconds) if seconds else None,
        histogram=Histogram(totals, best),
        mistakes=mistakes_by_frequency(rows),
        curves=Curves([row.losses for row in graded]) if any(row.losses for row in graded) else None,
        handful=HANDFUL,
        shown=SHOWN,
    )


def template() -> Template:
    """Return the page's template. What students wrote passes through `clean`, `said` or `link`."""
    # No autoescaping by file name: the template's ends in .j2, which would switch it off.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clean=clean, said=said, link=link, number=number, people=people, median=statistics.median,
        mean=statistics.fmean, is_number=is_number,
    )  # fmt: skip
    return environment.get_template("page.html.j2")


# --- Words and numbers


def said(text: str) -> Markup:
    """Return a sentence as HTML, with code where it has backticks."""
    return Markup(markup(clean(text)))


def link(path: str) -> str:
    """Return a path as a link that cannot leave for another scheme or host, whatever it is called."""
    return "./" + quote(path.encode("utf-8", "replace"))


def is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with no more digits than it needs."""
    return f"{round(value, digits):g}" if is_number(value) else "–"


def people(count: int) -> str:
    return "1 student" if count == 1 else f"{count} students"


# --- The totals


@dataclass
class Bar:
    """Students whose total is `low` or more, and less than the next bar's."""

    low: float
    count: int


class Histogram:
    """How the totals spread, a bar a point, or some twenty bars where there are more points."""

    def __init__(self, totals: Sequence[float], best: float) -> None:
        self.step = max(1, math.ceil(best / 20))
        last = math.floor(best / self.step)
        # The last bar holds full marks, and whatever bonus is above.
        found = Counter(min(max(math.floor(total / self.step), 0), last) for total in totals)
        self.bars = [Bar(k * self.step, found[k]) for k in range(last + 1)]
        self.highest = max(found.values(), default=0)
        self.ticks = ticks(self.highest)
        self.rounded = self.step == 1 and any(total != math.floor(total) for total in totals)
        self.words = in_words(totals, best)


def ticks(highest: int) -> list[int]:
    """Return up to five round counts from 0 to `highest`."""
    rounds = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    step = next(step for step in rounds if highest / step < 5)
    return list(range(0, highest + 1, step))


def in_words(totals: Sequence[float], best: float) -> str:
    """Say in a sentence how the totals spread."""
    if not totals:
        return ""
    if len(totals) == 1:
        return f"The only student has {number(totals[0])} of {number(best)} points."
    if min(totals) == max(totals):
        return f"All {len(totals)} students have {number(totals[0])} of {number(best)} points."
    full = sum(total >= best for total in totals)
    verb = "have" if full > 1 else "has"
    return (
        f"{full or 'None'} of {len(totals)} students {verb} all {number(best)} points, at least half "
        f"have {number(statistics.median(totals))} or more, and the lowest total is {number(min(totals))}."
    )


# --- The mistakes


@dataclass
class Mistake:
    """Sentences that differ in numbers and names only, under their most frequent wording."""

    sentence: str
    wordings: dict[int, str] = field(default_factory=dict)  # by the row's number

    @property
    def one_wording(self) -> bool:
        return len(set(self.wordings.values())) == 1


def mistakes_by_frequency(rows: Sequence[Row]) -> list[Mistake]:
    """Return the mistakes, the one that most students made first."""
    groups: dict[str, Mistake] = {}
    for k, row in enumerate(rows):
        for sentence in map(clean, row.mistakes):
            group = groups.setdefault(kind(sentence), Mistake(sentence))
            group.wordings.setdefault(k, sentence)  # a student counts once
    for group in groups.values():
        group.sentence = Counter(group.wordings.values()).most_common(1)[0][0]
    return sorted(groups.values(), key=lambda group: -len(group.wordings))


def kind(sentence: str) -> str:
    """Return what stays of a sentence without its names, lists of names, and numbers."""
    return NUMBER.sub("0", NAMES.sub("``", sentence))


# --- The loss curves


@dataclass
class Curve:
    """One student's losses as drawn, and what the drawing cannot show."""

    lines: list[str]  # points of polylines; a loss that is no number breaks the line
    crosses: list[tuple[float, float]]  # where losses stop being numbers
    beyond: list[tuple[float, float]]  # where the curve leaves through the upper edge
    words: str
    notes: list[str]


class Curves:
    """All loss curves on the same axes, which few strange runs cannot stretch."""

    def __init__(self, losses: Sequence[Sequence[float]]) -> None:
        self.epochs = int(reach([len(run) for run in losses if len(run)], least=1))
        shown = [loss for run in losses for loss in run[: self.epochs] if math.isfinite(loss)]
        self.top = reach(shown, least=1.5)
        self.width, self.height, self.margin = WIDTH, HEIGHT, MARGIN
        self.coin_toss = self.y(COIN_TOSS)
        self.each = [self.curve(run) for run in losses]

    def x(self, k: int) -> float:
        return round(MARGIN + k / max(1, self.epochs - 1) * (WIDTH - 2 * MARGIN), 1)

    def y(self, loss: float) -> float:
        part = min(max(loss / self.top, 0), 1)
        return round(HEIGHT - MARGIN - part * (HEIGHT - 2 * MARGIN), 1)

    def curve(self, losses: Sequence[float]) -> Curve:
        """Return the Curve of one student."""
        points, lines, crosses, y = thinned(losses[: self.epochs]), [], [], HEIGHT / 2
        beyond: list[tuple[float, float]] = []
        for is_finite, part in groupby(points, lambda point: math.isfinite(point[1])):
            run = list(part)
            if is_finite:
                lines.append(" ".join(f"{self.x(k):g},{self.y(loss):g}" for k, loss in run))
                y = self.y(run[-1][1])
                leaving = groupby(run, lambda point: point[1] > self.top)
                beyond += [(self.x(next(out)[0]), MARGIN) for is_out, out in leaving if is_out]
            else:
                crosses.append((self.x(run[0][0]), y))
        return Curve(lines, crosses, beyond, described(losses), self.notes(losses))

    def notes(self, losses: Sequence[float]) -> list[str]:
        """Return what to say below a drawing that does not show everything."""
        finite = [loss for loss in losses if math.isfinite(loss)]
        broken = next((k for k, loss in enumerate(losses, 1) if not math.isfinite(loss)), None)
        found = []
        if not len(losses):
            found.append("no loss recorded")
        if broken:
            found.append(f"not a number in epoch {broken}")
        if finite and max(finite) > self.top:
            found.append(f"up to {max(finite):.4g}")
        if finite and min(finite) < 0:
            found.append(f"down to {min(finite):.4g}")
        if len(losses) > self.epochs:
            found.append(f"first {self.epochs} of {len(losses)} epochs")
        return found


def reach(values: Sequence[float], least: float) -> float:
    """Return where an axis ends: at the 95th percentile, but not before `least`.

    What is ten times the median counts for nothing: sums in place of means from a student in ten
    would be above the percentile, and press everyone else's curve flat.
    """
    if not values:
        return least
    most = 10 * statistics.median(values)
    plausible = sorted(value for value in values if value <= most) or sorted(values)
    return max(least, plausible[int(0.95 * (len(plausible) - 1))])


def thinned(losses: Sequence[float], buckets: int = 40) -> list[tuple[int, float]]:
    """Return [(position, loss)] with enough of a long run to draw its line: its lows and highs."""
    points = list(enumerate(losses))
    if len(points) <= 3 * buckets:
        return points
    size = math.ceil(len(points) / buckets)
    kept: dict[int, float] = {}
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        finite = [point for point in bucket if math.isfinite(point[1])]
        kept.update([point for point in bucket if not math.isfinite(point[1])][:1])
        if finite:
            kept.update([min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])])
    return sorted(kept.items())


def described(losses: Sequence[float]) -> str:
    """Say a curve in words, for those who do not see it."""
    if not len(losses):
        return "No loss recorded."
    first, last = (f"{loss:.3g}" for loss in (losses[0], losses[-1]))
    return f"Loss {first} in epoch 1" + (f", {last} in epoch {len(losses)}." if len(losses) > 1 else ".")
