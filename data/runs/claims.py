"""Every sentence of the lesson that rests on the stored runs, and whether it holds in all of them.

    python data/runs/claims.py    # print the table and write it to docs/claims.md

A text that makes such a claim carries its id in a comment, <!-- claim: ID -->. The exit status is 1 if a
claim does not hold in every run.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.tinybert.lesson import HIGH, MIDDLE, STANDARD

ROOT = Path(__file__).parents[2]
STEPS = 38  # an epoch
LAYER_2, LAYER_3 = 0, 1  # places in what is measured of the trained layers
Run = dict[str, Any]


class Absent(LookupError):
    """A run that a claim needs is not stored: not with this number of threads, or not yet."""


@dataclass
class Throw:
    """All runs of one seed with one number of threads, and what was measured without training."""

    seed: int
    threads: int
    stored: dict[str, Any]

    def run(self, rate: float, cure: str = "") -> Run:
        """Return one run. Raises Absent."""
        wanted = {"seed": self.seed, "threads": self.threads, "rate": rate, "cure": cure}
        for run in self.stored["runs"]:
            if wanted.items() <= run.items():
                return dict(run)
        raise Absent(wanted)

    @property
    def random(self) -> Run:
        """The measures of the model with upper layers drawn at random from this seed."""
        return dict(self.stored["controls"]["redrawn"][self.seed])

    @property
    def pretrained(self) -> Run:
        return dict(self.stored["controls"]["pretrained"][0])


Predicate = Callable[[Throw], tuple[dict[str, float], bool]]


@dataclass
class Claim:
    """A sentence, and the predicate that returns {what: number} of one throw and whether it holds there."""

    id: str
    sentence: str
    predicate: Predicate


CLAIMS: list[Claim] = []


def claim(id: str, sentence: str) -> Callable[[Predicate], Predicate]:
    """Decorate the predicate of a claim."""

    def kept(predicate: Predicate) -> Predicate:
        CLAIMS.append(Claim(id, sentence, predicate))
        return predicate

    return kept


def last(run: Run, ruler: str, layer: int = LAYER_3) -> float:
    """Return a ruler of one layer after the last epoch."""
    return float(run[ruler][-1][layer])


def jump(run: Run) -> float:
    """Return the mean change of the loss from step to step in the first epoch."""
    steps = run["steps"][:STEPS]
    return sum(abs(b - a) for a, b in zip(steps, steps[1:])) / (len(steps) - 1)


@claim(
    "step-size",
    "The first AdamW step moves layer 2's weights by 6 to 8 % of their size at 2.5e-3, by less than 1 % "
    "at 3e-4 and by less than 0.1 % at 2e-5.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    part = throw.stored["parts"].index("layer 2")
    ratio = {
        rate: throw.stored["first_step"][f"{rate:g}"][throw.seed][part] for rate in (HIGH, MIDDLE, STANDARD)
    }
    fits = 0.06 <= ratio[HIGH] <= 0.08 and ratio[MIDDLE] < 0.01 and ratio[STANDARD] < 0.001
    return {"2.5e-3": ratio[HIGH], "3e-4": ratio[MIDDLE], "2e-5": ratio[STANDARD]}, fits


@claim(
    "first-epoch-jump",
    "In the first epoch the loss jumps from step to step at least five times as far at 2.5e-3 as at "
    "2e-5, with 3e-4 in between.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    high, middle, standard = (jump(throw.run(rate)) for rate in (HIGH, MIDDLE, STANDARD))
    numbers = {"2.5e-3": high, "3e-4": middle, "2e-5": standard}
    return numbers, high > 5 * standard and high > middle > standard


@claim(
    "smooth-at-standard",
    "At 2e-5 the mean training loss falls in every epoch.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    losses = throw.run(STANDARD)["training_loss"]
    return {"first": losses[0], "last": losses[-1]}, all(b < a for a, b in zip(losses, losses[1:]))


@claim(
    "bumpy-at-high",
    "At 2.5e-3 the mean training loss rises in at least one epoch.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    losses = throw.run(HIGH)["training_loss"]
    rises = sum(b > a for a, b in zip(losses, losses[1:]))
    return {"epochs with a rise": rises, "last": losses[-1]}, rises > 0


@claim(
    "training-loss-high",
    "After ten epochs the mean training loss at 2.5e-3 is above that of the same seed at 2e-5, and that "
    "above the one at 3e-4.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    high, middle, standard = (throw.run(rate)["training_loss"][-1] for rate in (HIGH, MIDDLE, STANDARD))
    return {"2.5e-3": high, "2e-5": standard, "3e-4": middle}, high > standard > middle


@claim(
    "collapse-layer-3",
    "After ten epochs at 2.5e-3 one direction holds more than half of the variance of layer 3; at 3e-4 "
    "and 2e-5 less than a third.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    high, middle, standard = (last(throw.run(rate), "one_direction") for rate in (HIGH, MIDDLE, STANDARD))
    return {"2.5e-3": high, "3e-4": middle, "2e-5": standard}, high > 1 / 2 and max(middle, standard) < 1 / 3


@claim(
    "collapse-first-epoch",
    "After the first epoch at 2.5e-3 one direction already holds more than half of the variance of layer 3.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    share = throw.run(HIGH)["one_direction"][0][LAYER_3]
    return {"2.5e-3": share}, share > 0.5


@claim(
    "collapse-not-random",
    "In upper layers drawn at random one direction holds less than 30 % of the variance of layer 3.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    share = throw.random["one_direction"][LAYER_3]
    return {"random": share}, share < 0.3


@claim(
    "same-answer",
    "At 2.5e-3 there is an epoch after which P(positive) of the validation reviews has a standard deviation "
    "below 0.1; at 3e-4 it is never below 0.2.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    high, middle = (min(throw.run(rate)["spread"]) for rate in (HIGH, MIDDLE))
    return {"2.5e-3, lowest": high, "3e-4, lowest": middle}, high < 0.1 and middle > 0.2


@claim(
    "neighbours",
    "At 2.5e-3 at most 5 % of the sentences keep their nearest neighbour in layer 3; at 3e-4 at least "
    "15 %, at 2e-5 at least 70 %, in random layers at least 25 %.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    high, middle, standard = (last(throw.run(rate), "kept") for rate in (HIGH, MIDDLE, STANDARD))
    random = throw.random["kept"][LAYER_3]
    numbers = {"2.5e-3": high, "3e-4": middle, "2e-5": standard, "random": random}
    return numbers, high <= 0.05 and middle >= 0.15 and standard >= 0.7 and random >= 0.25


@claim(
    "cka-needs-control",
    "By linear CKA with the pre-trained model, layer 3 at 3e-4 is no nearer to it than 0.1 above random "
    "layers, and layer 2 of random layers is above 0.9.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    middle, random = throw.run(MIDDLE)["cka"], throw.random["cka"]
    numbers = {"3e-4": middle[4], "random": random[4], "random, layer 2": random[3]}
    return numbers, middle[4] < random[4] + 0.1 and random[3] > 0.9


@claim(
    "cka-high",
    "By linear CKA with the pre-trained model, layers 2 and 3 at 2.5e-3 are below 0.4, and below random "
    "layers.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    high, random = throw.run(HIGH)["cka"], throw.random["cka"]
    numbers = {"layer 2": high[3], "layer 3": high[4], "random, layer 3": random[4]}
    return numbers, max(high[3:]) < 0.4 and high[3] < random[3] and high[4] < random[4]


@claim(
    "overconfidence",
    "At 3e-4 the validation loss after ten epochs is at least 1.4 times that after the first, and the "
    "accuracy is not more than two points lower.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    run = throw.run(MIDDLE)
    (first, *_, end), (before, *_, after) = run["validation_loss"], run["validation_accuracy"]
    numbers = {"loss first": first, "loss last": end, "accuracy first": before, "accuracy last": after}
    return numbers, end >= 1.4 * first and after >= before - 0.02


@claim(
    "standard-keeps-learning",
    "At 2e-5 the validation loss is lower after the last epoch than after the first.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    losses = throw.run(STANDARD)["validation_loss"]
    return {"first": losses[0], "last": losses[-1]}, losses[-1] < losses[0]


@claim(
    "high-is-worse",
    "On the test reviews the model trained at 2.5e-3 is worse than that of the same seed at 3e-4.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    high, middle = (throw.run(rate)["test_accuracy"] for rate in (HIGH, MIDDLE))
    return {"2.5e-3": high, "3e-4": middle}, high < middle


@claim(
    "threads",
    "At 2.5e-3 the same seed comes to another training loss with two threads than with one, by over 0.01 "
    "in some epoch; at 2e-5 in none.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    if throw.threads != 2:
        raise Absent("two threads")
    other = Throw(throw.seed, 1, throw.stored)
    apart = {
        rate: max(abs(a - b) for a, b in zip(*(t.run(rate)["training_loss"] for t in (throw, other))))
        for rate in (HIGH, STANDARD)
    }
    return {"2.5e-3": apart[HIGH], "2e-5": apart[STANDARD]}, apart[STANDARD] < 0.01 < apart[HIGH]


@claim(
    "gradients-remain",
    "The gradients do not vanish at 2.5e-3: their median norm in the last epoch is above 0.2.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    norm = throw.run(HIGH)["norms"][-1]
    return {"2.5e-3": norm}, norm > 0.2


@claim(
    "slower-still",
    "After ten epochs at 2e-6 the mean training loss is still above that of 2e-5 after two epochs.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    slow, usual = throw.run(2e-6)["training_loss"][-1], throw.run(STANDARD)["training_loss"][1]
    return {"2e-6": slow, "2e-5, second epoch": usual}, slow > usual


@claim(
    "clipping-no-cure",
    "With gradients clipped to a norm of 1, one direction still holds more than half of the variance of "
    "layer 3 at 2.5e-3.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    share = last(throw.run(HIGH, "clipping"), "one_direction")
    return {"clipped": share}, share > 0.5


@claim(
    "warm-up-no-cure",
    "With a warm-up of two epochs, one direction still holds more than half of the variance of layer 3 "
    "at 2.5e-3.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    share = last(throw.run(HIGH, "warm-up"), "one_direction")
    return {"warm-up": share}, share > 0.5


@claim(
    "warm-up-delays",
    "With a warm-up of two epochs, one direction holds less than a third of the variance of layer 3 after "
    "the first epoch at 2.5e-3.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    share = throw.run(HIGH, "warm-up")["one_direction"][0][LAYER_3]
    return {"warm-up": share}, share < 1 / 3


@claim(
    "range-test",
    "In a range test the mean of 15 losses is lowest at a rate between 3e-4 and 5e-3, and still above "
    "0.65 at 2e-5.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    losses = throw.run(HIGH, "range")["steps"]
    smooth = {
        1e-6 * 1e5 ** ((k + 7) / (len(losses) - 1)): sum(losses[k : k + 15]) / 15
        for k in range(len(losses) - 14)
    }
    lowest = min(smooth, key=lambda rate: smooth[rate])
    usual = smooth[min(smooth, key=lambda rate: abs(rate / STANDARD - 1))]
    return {"rate": lowest, "loss at 2e-5": usual}, 3e-4 <= lowest <= 5e-3 and usual > 0.65


@claim(
    "lowered-afterwards",
    "A model that has collapsed, trained on at 3e-4 for ten epochs, gets at least 65 % of the test reviews "
    "right; one direction still holds more than half of the variance of layer 3, and at most 5 % of the "
    "sentences have their old nearest neighbour.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    run = throw.run(MIDDLE, "lowered")
    accuracy, share, kept = run["test_accuracy"], last(run, "one_direction"), last(run, "kept")
    numbers = {"test accuracy": accuracy, "one direction": share, "kept": kept}
    return numbers, accuracy >= 0.65 and share > 1 / 2 and kept <= 0.05


@claim(
    "redrawn-layers",
    "With layers 2 and 3 drawn at random and 3e-4, the model gets at least 70 % of the test reviews right, "
    "and one direction holds less than half of the variance of layer 3.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    run = throw.run(MIDDLE, "redrawn")
    accuracy, share = run["test_accuracy"], last(run, "one_direction")
    return {"test accuracy": accuracy, "one direction": share}, accuracy >= 0.7 and share < 1 / 2


@claim(
    "one-answer",
    "After ten epochs at 8e-3 or 2e-2 P(positive) of the validation reviews has a standard deviation "
    "below 0.01.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    spread = {name: throw.run(float(name))["spread"][-1] for name in ("8e-3", "2e-2")}
    return dict(spread), max(spread.values()) < 0.01


@claim(
    "in-between",
    "After ten epochs at 1e-3 one direction holds more than half of the variance of layer 3, and at least "
    "70 % of the test reviews are right.",
)
def _(throw: Throw) -> tuple[dict[str, float], bool]:
    run = throw.run(1e-3)
    share, accuracy = last(run, "one_direction"), run["test_accuracy"]
    return {"one direction": share, "test accuracy": accuracy}, share > 1 / 2 and accuracy >= 0.7


def stored() -> dict[str, Any]:
    return dict(json.loads((Path(__file__).parent / "runs.json").read_text()))


def tried(found: Claim, runs: dict[str, Any]) -> list[tuple[Throw, dict[str, float], bool]]:
    """Return (throw, numbers, whether it holds) for every seed and number of threads that is stored."""
    results = []
    for seed, threads in sorted(
        {(run["seed"], run["threads"]) for run in runs["runs"]}, key=lambda k: k[::-1]
    ):
        throw = Throw(seed, threads, runs)
        try:
            results.append((throw, *found.predicate(throw)))
        except Absent:
            continue
    return results


def table(runs: dict[str, Any]) -> tuple[str, bool]:
    """Return the page docs/claims.md, and whether every claim holds wherever it was tried."""
    lines = [
        "# What the lesson claims, and where it holds",
        "",
        "Generated by `make claims` from [data/runs](../data/runs/README.md). Numbers: lowest to highest of "
        "all runs; five seeds, with one thread and, for the lesson's three rates, with two.",
        "",
        "| id | claim | numbers | holds in |",
        "|---|---|---|---|",
    ]
    holds = True
    for found in CLAIMS:
        results = tried(found, runs)
        names = results[0][1] if results else {}
        numbers = "; ".join(
            f"{name}: {min(r[1][name] for r in results):.3g} to {max(r[1][name] for r in results):.3g}"
            for name in names
        )
        right = sum(fits for _, _, fits in results)
        holds &= bool(results) and right == len(results)
        lines.append(f"| `{found.id}` | {found.sentence} | {numbers} | {right} of {len(results)} |")
    return "\n".join(lines) + "\n", holds


def main() -> int:
    page, holds = table(stored())
    (ROOT / "docs" / "claims.md").write_text(page)
    print(page)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
