"""A second lesson, with a verifier of its own: students write `median(values)`. See docs/authoring.md."""

import os
import random
import statistics
from dataclasses import dataclass
from types import SimpleNamespace

from autograder.check import check, grading
from autograder.evidence import Evidence, read
from autograder.lessons import Lesson
from autograder.rule import rule
from autograder.verdict import Verdict

POINTS = 5


@dataclass
class Record:
    returned: list[float | str]  # for each list a float, or the name of a type or an error
    lists_kept: bool


def drawn(seed):
    uniform = random.Random(seed).uniform
    return [[uniform(-9, 9) for _ in range(count)] for count in (1, 5, 2, 8)]


def collect(median, seed):
    given, returned = drawn(seed), []
    for values in given:
        try:
            result = median(values)
            returned.append(result if isinstance(result, float) else type(result).__name__)
        except Exception as error:
            returned.append(type(error).__name__)
    return Record(returned, given == drawn(seed))


@rule(5, "a number for every list.", "Section 1")
def number(record, seed):
    """`median` returns a number."""
    if odd := [found for found in record.returned if isinstance(found, str)]:
        return f"`median` came to {odd[0]} in {len(odd)} of {len(record.returned)} lists.", "Nothing can be compared."


@rule(3, "the value in the middle of the sorted list, or the mean of the two.", "Section 2")
def middle(record, seed):
    """It is the median."""
    pairs = zip(record.returned, map(statistics.median, drawn(seed)))
    if wrong := [(got, right) for got, right in pairs if isinstance(got, float) and abs(got - right) > 1e-9]:
        return f"`median` returned {wrong[0][0]:.3f}, where the median is {wrong[0][1]:.3f}.", "Half lie on each side."


@rule(1, "the list as it was.", "Section 3")
def kept(record, seed):
    """The list that was passed in is left alone."""
    if not record.lists_kept:
        return "`median` changed the list it was given.", "`values.sort()` sorts the caller's own list; `sorted` does not."


def judge(record, seed):
    return Verdict("Median", POINTS, [found for rule in (number, middle, kept) if (found := rule(record, seed))])


@check
def check_median(median, *, seed):
    return Evidence(collect(median, seed)) if grading() else judge(collect(median, seed), seed)


class Medians(Lesson):
    checks = {"test_median": "Median"}
    files = (os.path.dirname(__file__),)

    def examiner(self, solution, seed):
        return SimpleNamespace(verdict=lambda cell, evidence: judge(read(evidence, Record), seed))


LESSON = Medians()
