"""What a rule says when it is broken."""

from dataclasses import dataclass


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

    def __str__(self):
        return f"{self.observed} Expected: {self.expected}\n{self.why} → {self.hint}"


def listing(names, limit=3):
    """Return the first few names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"`{name}`" for name in names[:limit]) + more


def from_to(before, now):
    """Return two values of a setting as words."""
    return f"from {shown(before)} to {shown(now)}"


def shown(value):
    return f"{value:g}" if isinstance(value, (int, float)) else "nothing"
