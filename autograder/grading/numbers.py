"""Numbers in prose, and whether other text holds them: a hint for who reads an answer, never a grade."""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

NUMBER = re.compile(
    r"(?<![\w.,])(?P<digits>\d+(?:[.,]\d+)*|\.\d+)"
    r"(?:e(?P<e>[-+−–]?\d{1,3})|\s?[×x·*⋅]\s?10(?:\s?(?:\^|\*\*)\s?\{?|(?=[⁻⁰¹²³⁴-⁹]))(?P<ten>[-+−–⁻]?[\d⁰¹²³⁴-⁹]{1,3})\}?)?"
    r"(?P<percent>\s?(?:%|per ?cent\b))?",
    re.IGNORECASE,
)
PLAIN = str.maketrans("−–⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "---0123456789")
THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")

Parts = list[tuple[str, bool | None]]


def readings(match: re.Match[str]) -> Iterator[tuple[float, float]]:
    """Yield (value, unit of its last digit) for each way to read a number; a sign is not part of it."""
    digits = match["digits"]
    ways = [digits.replace(",", ".")] if digits.count(",") < 2 else []
    if THOUSANDS.fullmatch(digits):
        ways.append(digits.replace(",", ""))
    power = int((match["e"] or match["ten"] or "0").translate(PLAIN))
    for way in ways:
        whole, _, decimals = way.partition(".")
        if "." in decimals:  # 1.2.3 is a version, or a date
            continue
        try:
            value, unit = float(way) * 10.0**power, 10.0 ** (power - len(decimals))
        except OverflowError:
            continue
        if math.isfinite(value):
            yield value, unit
            if match["percent"]:
                yield value / 100, unit / 100


def values(text: str) -> set[float]:
    """Return the values of the numbers in a text; of 62 %, both 62 and 0.62."""
    return {value for match in NUMBER.finditer(text) for value, _ in readings(match)}


def is_among(match: re.Match[str], known: Sequence[float]) -> bool:
    """Whether one of the known values, in ascending order, rounds to a number: 0.6923 to 0.69 and 69 %."""
    for value, unit in readings(match):
        reach = unit * 0.5001  # a half goes up or down
        at = bisect_left(known, value - reach)
        if at < len(known) and known[at] <= value + reach:
            return True
    return False


def parts(text: str, known: Sequence[float]) -> Parts:
    """Return a text in parts, each with None, or with whether this number is among the known values."""
    found: Parts = []
    end = 0
    for match in NUMBER.finditer(text):
        if any(True for _ in readings(match)):
            found += [(text[end : match.start()], None), (match[0], is_among(match, known))]
            end = match.end()
    return [part for part in [*found, (text[end:], None)] if part[0]]
