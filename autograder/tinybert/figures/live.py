"""The figure of the run under way: redrawn in place, step after step."""

import os
from time import monotonic
from typing import Any

import matplotlib
import numpy as np
from IPython.display import display

from ..lesson import HIGH
from ..records import RunRecord
from .before import guess
from .show import COARSE, COLOURS, FINE, NAMES, STYLE, bundle, coin_toss, in_words, panels, png

SHARE = 0.04  # of the time may go into drawing
SOON = 1.0  # seconds until the second picture


class Live:
    """Draws a RunRecord while it fills up: losses of steps and epochs over a prediction, validation accuracy.

    To be handed to `watch`. Draws nothing while a notebook is graded.
    """

    def __init__(self, prediction: Any, epochs: int) -> None:
        self.prediction, self.epochs = guess(prediction, epochs), epochs
        self.silent = "NBGRADER_EXECUTION" in os.environ  # nobody watches
        self.record: Any = None

    def start(self, record: RunRecord) -> None:
        """Show the empty axes at once."""
        self.record, self.handle, self.next, self.epochs_drawn = record, None, 0.0, 0
        self.draw(COARSE)
        self.next = monotonic() + SOON

    def update(self) -> None:
        """Draw again where enough time has passed."""
        if not self.silent and monotonic() >= self.next:
            begun = monotonic()
            self.draw(COARSE)
            self.next = monotonic() + max(SOON, (monotonic() - begun) / SHARE)

    def close(self) -> None:
        """Draw what there is at the end, finely, and say it in words."""
        self.draw(FINE)
        if not self.silent:
            in_words(self.words(*self.by_epoch()))

    def draw(self, dpi: int) -> None:
        """Draw the record, and put the picture in the place of the last one."""
        if self.silent:
            return
        steps, batches = np.array(self.record.step_losses), self.record.batches
        means, accuracy = self.by_epoch()
        with matplotlib.rc_context(STYLE):
            drawn, (top, bottom) = panels(2, height=4.4, sharex=True, height_ratios=(2, 1))
            epochs = range(1, self.epochs + 1)
            if self.prediction:
                top.plot(
                    epochs,
                    self.prediction,
                    "D--",
                    color="black",
                    markersize=3,
                    linewidth=1,
                    label="your prediction",
                )
            top.plot(
                np.arange(1, len(steps) + 1) / batches + 0.5,
                steps,
                color=COLOURS[HIGH],
                alpha=0.4,
                linewidth=0.8,
                label="each step",
            )
            top.plot(
                range(1, len(means) + 1),
                means,
                "o-",
                color=COLOURS[HIGH],
                linewidth=2,
                label="mean of the epoch",
            )
            coin_toss(top)
            bottom.plot(range(1, len(accuracy) + 1), accuracy, "o-", color=COLOURS[HIGH], linewidth=2)
            bottom.axhline(0.5, color="#595959", linestyle=":", linewidth=1)
            highest = max([1.0, *steps[np.isfinite(steps)]]) if len(steps) else 1.0
            top.set(ylabel="training loss", ylim=(0, min(2.5, 1.05 * highest)))
            top.legend(loc="upper right", frameon=False, fontsize=8, ncols=3)
            bottom.set(
                xlabel="epoch",
                ylabel="validation\naccuracy",
                ylim=(0.4, 1),
                xticks=epochs,
                xlim=(0.4, self.epochs + 0.6),
            )
            top.set_title(self.title(len(steps), len(means)))
            shown = bundle(png(drawn, dpi), self.words(means, accuracy))
        if self.handle is None:
            self.handle = display(shown["data"], metadata=shown["metadata"], raw=True, display_id=True)
        else:
            self.handle.update(shown["data"], metadata=shown["metadata"], raw=True)

    def by_epoch(self) -> tuple[list[float], list[float]]:
        """Return the mean losses and the validation accuracies of the epochs that are complete."""
        losses, size = self.record.step_losses, self.record.batches
        ends = range(size, len(losses) + 1, size)
        return [sum(losses[end - size : end]) / size for end in ends], [a for _, a in self.record.each_epoch]

    def title(self, steps: int, epochs: int) -> str:
        """Say how far the run is."""
        if epochs >= self.epochs:
            return f"Your run at {NAMES[HIGH]}: {epochs} epochs, {steps} steps"
        return f"Your run at {NAMES[HIGH]}: {epochs} of {self.epochs} epochs, {steps} steps"

    def words(self, means: list[float], accuracy: list[float]) -> str:
        """Return what the figure shows, in words."""
        loss = ", ".join(f"{mean:.2f}" for mean in means) or "none yet"
        right = ", ".join(f"{share:.2f}" for share in accuracy) or "none yet"
        return (
            f"Your run at learning rate {NAMES[HIGH]}. Mean training loss by epoch: {loss}. "
            f"Validation accuracy: {right}."
        )
