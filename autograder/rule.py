"""A rule of the lesson, and what it says when it is broken."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Said = (
    tuple[str, str] | tuple[str, str, float]
)  # what was observed, why that matters, points if not the usual


NAMES: set[str] = set()  # of all rules that were made


@dataclass
class Finding:
    """One mistake, in the words a teaching assistant would use.

    rule: the rule's name; points: how many it takes off the cell; observed and expected:
    what the student's code did and should have done; why: what the mistake does to
    training; hint: where in the notebook help is found.
    """

    rule: str
    points: float
    observed: str
    expected: str
    why: str
    hint: str

    def __str__(self) -> str:
        return f"{self.observed} Expected: {self.expected}\n{self.why} → {self.hint}"


class Rule:
    """A mistake that has a name: how it is seen, what it costs, what is right, and where help is found.

    Made by `rule` of a function, whose docstring says what is right. Where the rule is broken it
    returns (observed, why), or (observed, why, points) where that costs more or less than usual;
    else None.
    """

    def __init__(self, function: Callable[..., Said | None], points: float, expected: str, hint: str):
        functools.update_wrapper(self, function)
        self.function, self.name = function, function.__name__
        self.points, self.expected, self.hint = points, expected, hint
        NAMES.add(self.name)

    def __call__(self, *seen: Any) -> Finding | None:
        """Return the Finding in what was seen, or None."""
        said = self.function(*seen)
        return self.broken(*said) if said else None

    def broken(self, observed: str, why: str, points: float | None = None) -> Finding:
        """Return the Finding that the rule is broken."""
        points = self.points if points is None else points
        return Finding(self.name, points, observed, self.expected, why, self.hint)


def rule(points: float, expected: str, hint: str) -> Callable[[Callable[..., Said | None]], Rule]:
    """Make a Rule of the function below, with its name."""
    return lambda function: Rule(function, points, expected, hint)


def listing(names: Iterable[str], limit: int = 3) -> str:
    """Return the first few names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"`{name}`" for name in names[:limit]) + more


def from_to(before: float | None, now: float | None) -> str:
    """Return two values of a setting as words."""
    return f"from {shown(before)} to {shown(now)}"


def shown(value: float | None) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else "nothing"
