"""Every rule of the lesson on one page: what is right, what it costs, what it says, an answer that breaks it.

    python tests/benchmarks/rules.py    writes docs/rules.md
"""

import os
from collections import defaultdict

from catalogue import catalogue
from classes import ROOT

from autograder.rule import Rule
from autograder.tinybert.judge import calls, history, lines, optimizer, steps, training

PAGE = ROOT / "docs" / "rules.md"
ROOMS = {  # in the order in which a student meets their checks
    "The optimizer (TODO #1)": [optimizer],
    "The training loop (TODO #2)": [training, calls, steps],
    "The loss history": [history, lines],
}
HEAD = """\
# The rules of notebook 08

Made by `python tests/benchmarks/rules.py` from the rules themselves, in `autograder/tinybert/judge/`. Points are
those of cells that are worth 3, 2, 6 and 3; in a cell that is worth more or less each keeps its share. Some of a
rule's cases cost more, up to all of its cell's points, where nothing is left to judge.
"""


def rules(module):
    """Return the Rules that a module declares, in their order."""
    return [value for value in vars(module).values() if isinstance(value, Rule) and value.__module__ == module.__name__]


def examples():
    """Return {rule: [answers that break it and nothing else]}."""
    found = defaultdict(list)
    for answer in catalogue().values():
        if len(answer.rules) == 1:
            found[min(answer.rules)].append(answer)
    return found


def page():
    """Return the page as text."""
    known, parts = examples(), [HEAD]
    for title, modules in ROOMS.items():
        parts.append(f"\n## {title}\n")
        for rule in (rule for module in modules for rule in rules(module)):
            plural = "" if rule.points == 1 else "s"
            parts.append(f"\n### `{rule.name}`, {rule.points:g} point{plural}\n\n{rule.__doc__}\n")
            parts.append(f"\nExpected: {rule.expected} → {rule.hint}\n")
            for answer in known[rule.name][:1]:
                path = os.path.relpath(ROOT / "tests" / "answers" / "wrong" / f"{answer.name}.md", PAGE.parent)
                parts.append(f"\nBroken by [{answer.name}]({path}), which reads: {answer.header('Says')}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
