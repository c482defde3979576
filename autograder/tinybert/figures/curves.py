"""Figures of losses and accuracy: the student's run beside the same loop at other rates."""

from typing import Any

import numpy as np

from .. import rulers
from ..lesson import HIGH, MIDDLE, STANDARD
from ..running import Result
from ..start import Batch
from .show import (
    COLOURS,
    GREY,
    NAMES,
    coin_toss,
    figure,
    label_ends,
    look,
    need,
    panels,
    show,
    table,
)

RATES = HIGH, MIDDLE, STANDARD
RUN_FIRST = "There are no runs to draw yet: run the cell that trains at three rates first (section 7)."


def finished(results: Any) -> Any:
    """Return the results; raise Missing where there are none, or a run ended in its first epoch."""
    for result in need(results, RUN_FIRST).values():
        need(result.validation, "A run did not finish an epoch: run the cells that train again.")
    return results


@figure
def summary(results: dict[Any, Result], test: list[Batch]) -> None:
    """Show the last numbers of every run in a table."""
    rows = [
        [
            NAMES[key],
            f"{r.losses[-1]:.3f}",
            f"{r.validation[-1][0]:.3f}",
            f"{r.validation[-1][1]:.3f}",
            f"{rulers.loss_and_accuracy(r.model, test)[1]:.3f}",
        ]
        for key, r in finished(results).items()
    ]
    head = ["run", "training loss", "validation loss", "validation accuracy", "test accuracy"]
    table(head, rows, "After the last epoch")


@figure
def training(results: dict[Any, Result]) -> None:
    """Show the mean training loss by epoch of all runs."""
    drawn, axes = panels(height=3.4)
    for key, result in finished(results).items():
        axes.plot(range(1, len(result.losses) + 1), result.losses, linewidth=2, **look(key))
    epochs = range(1, len(results[HIGH].losses) + 1)
    axes.set(
        xlabel="epoch",
        ylabel="mean training loss",
        xticks=epochs,
        title="The same loop at three learning rates",
    )
    axes.set_ylim(bottom=0)
    axes.axhline(np.log(2), color=GREY, linestyle=":", linewidth=1, zorder=0)
    ends = [(r.losses[-1], NAMES[key], COLOURS[key]) for key, r in results.items()]
    label_ends(axes, [*ends, (float(np.log(2)) + 0.04, "coin toss, ln 2", GREY)])
    show(
        drawn,
        "Mean training loss by epoch. "
        + " ".join(
            f"{NAMES[key]}: {', '.join(f'{loss:.2f}' for loss in r.losses)}." for key, r in results.items()
        ),
    )


@figure
def steps(results: dict[Any, Result]) -> None:
    """Show the loss of every training step, by rate, and how far it jumps in the first epoch."""
    finished(results)
    drawn, rows = panels(3, height=5.2, sharex=True, sharey=True)
    batches = results[HIGH].run.batches
    said = []
    for axes, rate in zip(rows, RATES):
        losses = np.array(results[rate].run.step_losses)
        jump = np.abs(np.diff(losses[:batches])).mean() if batches > 1 else 0.0
        axes.axvspan(0, batches - 1, color="#EEEEEE", zorder=0)
        axes.plot(losses, color=COLOURS[rate], alpha=0.45, linewidth=0.8)
        smooth = np.convolve(losses, np.ones(batches) / batches, "valid")
        axes.plot(np.arange(len(smooth)) + batches / 2, smooth, color=COLOURS[rate], linewidth=2)
        coin_toss(axes)
        axes.set_ylabel("batch loss")
        axes.set_title(f"{NAMES[rate]}: mean jump from step to step in the first epoch (grey) {jump:.3f}")
        said.append(
            f"{NAMES[rate]}: mean jump in the first epoch {jump:.3f}, largest loss {losses.max():.2f}."
        )
    rows[0].set_ylim(0, min(2.5, 1.05 * max(max(results[rate].run.step_losses) for rate in RATES)))
    rows[-1].set_xlabel("training step")
    show(
        drawn,
        "Loss of every training step, thin, and its mean over as many steps as an epoch has, thick. "
        + " ".join(said),
    )


@figure
def validation(results: dict[Any, Result]) -> None:
    """Show training against validation loss, and validation accuracy, by epoch."""
    finished(results)
    drawn, (top, bottom) = panels(2, height=6.0, sharex=True)
    epochs = range(1, len(results[HIGH].losses) + 1)
    for rate in RATES:
        after = np.array(results[rate].validation)
        top.plot(epochs, results[rate].losses, color=COLOURS[rate], linestyle=":", linewidth=1.5)
        top.plot(epochs, after[:, 0], **{**look(rate), "linestyle": "-"}, linewidth=2)
    for key, result in results.items():
        bottom.plot(epochs, np.array(result.validation)[:, 1], linewidth=2, **look(key))
    top.set(ylabel="loss", title="Loss on the reviews: trained on (dotted), never trained on (solid)")
    top.set_ylim(bottom=0)
    label_ends(top, [(results[rate].validation[-1][0], NAMES[rate], COLOURS[rate]) for rate in RATES])
    bottom.set(
        xlabel="epoch",
        ylabel="validation accuracy",
        xticks=epochs,
        ylim=(0.4, 0.9),
        title="Accuracy on reviews never trained on",
    )
    bottom.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    label_ends(bottom, [(r.validation[-1][1], NAMES[key], COLOURS[key]) for key, r in results.items()])
    show(
        drawn,
        "Validation loss and accuracy by epoch. "
        + " ".join(
            f"{NAMES[key]}: loss {r.validation[0][0]:.2f} after the first epoch, "
            f"{r.validation[-1][0]:.2f} after the last; "
            f"accuracy {r.validation[0][1]:.2f} and {r.validation[-1][1]:.2f}."
            for key, r in results.items()
        ),
    )


@figure
def confidence(results: dict[Any, Result], rate: float = MIDDLE) -> None:
    """Show how sure a model is of its right and its wrong answers, after the first and the last epoch."""
    result = finished(results)[rate]
    last = len(result.diary.weights) - 1
    drawn, pair = panels(1, 2, height=3.0, sharey=True)
    said = []
    for axes, epoch in zip(pair, (1, last)):
        logits, labels = result.diary.answers_after(epoch)
        chances = rulers.positive(logits)
        right = (chances > 0.5) == labels.numpy()
        sure = np.maximum(chances, 1 - chances)
        edges = np.linspace(0.5, 1, 11)
        counts = [np.histogram(sure[right == flag], edges)[0] for flag in (True, False)]
        axes.bar(edges[:-1], counts[0], 0.05, align="edge", color="#56B4E9", edgecolor="white")
        axes.bar(edges[:-1], -counts[1], 0.05, align="edge", color="#E69F00", edgecolor="white", hatch="//")
        axes.axhline(0, color="black", linewidth=0.8)
        wrong = sure[~right]
        share = float((wrong > 0.95).mean()) if len(wrong) else 0.0
        axes.set(xlabel="how sure: P of the answer given")
        axes.set_title(
            f"after epoch {epoch}: {right.sum()} right, {len(wrong)} wrong;\n"
            f"of the wrong {share:.0%} more than 95% sure",
            fontsize=10,
        )
        said.append(
            f"After epoch {epoch}: {right.sum()} right, {len(wrong)} wrong; of the wrong ones {share:.0%} "
            f"with more than 95% for the wrong answer."
        )
    pair[0].set_ylabel("reviews (wrong ones downwards)")
    drawn.suptitle(f"{NAMES[rate]}: right answers (up) and wrong ones (down)", fontsize=11, x=0.02, ha="left")
    show(drawn, f"Two histograms of how sure the model is at {NAMES[rate]}. " + " ".join(said))
