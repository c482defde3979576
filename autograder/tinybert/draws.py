"""What a seed decides: known to the room that collects and to the one that judges."""

import random
from dataclasses import dataclass
from functools import lru_cache
from math import copysign

from .lesson import LEARNING_RATE, NUM_EPOCHS, WEIGHT_DECAY

SAMPLE = 8  # values of a parameter that are looked at
STEP_SIZES = 1, 0.1, 10, 1, 0.1, 10, 1  # of the gradients in the steps that an optimizer is watched for


@dataclass(frozen=True)
class Plan:
    """What one call of the student's loop is given."""

    epochs: int | None  # None: `num_epochs` is left to its default
    examples: int
    batch_size: int
    layers: int  # of the probe's encoder; the first two are frozen
    seed: int  # of the probe's weights, examples, batches and dropout
    replayed: int = 1  # every so many steps the gradients are compared with those of a replay
    lr: float = LEARNING_RATE  # of the probe's optimizer
    weight_decay: float = WEIGHT_DECAY

    @property
    def num_epochs(self) -> int:
        return NUM_EPOCHS if self.epochs is None else self.epochs

    @property
    def default_epochs(self) -> bool:
        return self.epochs is None

    @property
    def batches(self) -> int:
        return -(-self.examples // self.batch_size)


def trials(seed: int | str) -> list[Plan]:
    """Return the Plans of a check of the training loop.

    The first has batches as large as the lesson's, the second half as many as the lesson has, and
    the third shows the default number of epochs. One batch is always smaller than the others.
    An encoder layer that learns is in the first only: it would take half of the others' time. The
    second has an optimizer with other settings than the lesson's: a loop that sets those shows it.
    """
    draw = random.Random(seed)
    plans, (small, other) = [], draw.sample((3, 4), 2)
    for epochs, batches, batch_size, layers, settings in (
        (3, draw.choice((3, 4)), draw.choice((17, 18)), 3, ()),
        (2, draw.choice((16, 17, 18)), small, 2, (3, 2e-3, 0.05)),
        (None, 2, other, 2, (3,)),
    ):
        examples = batches * batch_size - draw.randrange(1, batch_size - 1)
        plans.append(Plan(epochs, examples, batch_size, layers, draw.randrange(2**31), *settings))
    return plans


@lru_cache(maxsize=256)  # two checks of an optimizer ask for those of all its parameters
def gradients(seed: int | str, name: str, count: int) -> tuple[tuple[float, ...], ...]:
    """Return a parameter's gradients in each step of the check of the optimizer, none of them zero."""
    draw = random.Random(f"{seed} {name}")
    return tuple(
        tuple(size * (x + copysign(0.1, x)) for x in (draw.uniform(-0.4, 0.4) for _ in range(count)))
        for size in STEP_SIZES
    )
