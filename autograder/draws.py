"""What a seed decides: known to the room that collects and to the one that judges."""

import random
from dataclasses import dataclass
from functools import lru_cache
from math import copysign

from .lesson import NUM_EPOCHS

SAMPLE = 16  # values of a parameter that are looked at


@dataclass(frozen=True)
class Plan:
    """What one call of the student's loop is given."""

    epochs: int | None  # None: `num_epochs` is left to its default
    examples: int
    batch_size: int
    seed: int  # of the probe's weights, examples, batches and dropout

    @property
    def num_epochs(self):
        return NUM_EPOCHS if self.default_epochs else self.epochs

    @property
    def default_epochs(self):
        return self.epochs is None

    @property
    def batches(self):
        return -(-self.examples // self.batch_size)


def trials(seed):
    """Return the Plans of a check of the training loop.

    They differ in the number of epochs, batches and examples, and the last batch is smaller than
    the others. The last one is there to show the default number of epochs.
    """
    draw = random.Random(seed)
    plans = []
    drawn = [draw.sample(pair, 2) for pair in ((2, 3), (3, 4), (3, 4))]
    for epochs, batches, batch_size in (*zip(*drawn), (None, 2, draw.choice((3, 4)))):
        examples = batches * batch_size - draw.choice((1, 2))
        plans.append(Plan(epochs, examples, batch_size, draw.randrange(2**31)))
    return plans


@lru_cache(maxsize=256)  # two checks of an optimizer ask for those of all its parameters
def gradients(seed, name, count):
    """Return the gradients that a parameter has in the check of the optimizer, none of them zero."""
    draw = random.Random(f"{seed} {name}")
    return tuple(x + copysign(0.1, x) for x in (draw.uniform(-0.4, 0.4) for _ in range(count)))
