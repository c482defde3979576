"""Figures that set the student's run beside others: a range test, stored seeds and cures."""

import json
from typing import Any

import numpy as np

from ..lesson import HIGH, MIDDLE, STANDARD, data_folder
from ..rulers import loss_and_accuracy
from ..running import Lab, Result
from ..start import Batch
from .curves import RATES, finished
from .show import COLOURS, GREY, NAMES, coin_toss, figure, need, panels, show

SMOOTH = 12  # steps over which a range test's losses are averaged


def stored() -> dict[str, Any]:
    """Return the stored runs; data/runs/README.md says what they hold."""
    return dict(json.loads((data_folder() / "runs" / "runs.json").read_text()))


def runs(rate: float, cure: str = "", threads: int = 1) -> list[dict[str, Any]]:
    """Return the stored runs of all seeds at a rate."""
    return [r for r in stored()["runs"] if (r["rate"], r["cure"], r["threads"]) == (rate, cure, threads)]


@figure
def dial(lab: Lab, model: Any, optimizer: Any) -> None:
    """Show a range test of the student's optimizer: one short run whose rate grows from step to step."""
    if not hasattr(optimizer, "param_groups"):
        need(None, "`optimizer` is not there yet: write TODO #1 and run its cell first.")
    rates, losses = lab.range_test(model, optimizer)
    smooth = np.convolve(losses, np.ones(SMOOTH) / SMOOTH, "valid")
    middles = rates[SMOOTH // 2 : SMOOTH // 2 + len(smooth)]
    drawn, axes = panels(height=3.6)
    axes.axvspan(2e-5, 5e-5, color="#56B4E9", alpha=0.25)
    axes.axvspan(5.01e-5, 3e-4, color="#009E73", alpha=0.15)
    axes.axvspan(3e-5, 5e-5, color="#009E73", alpha=0.15)
    axes.plot(rates, losses, color=GREY, alpha=0.4, linewidth=0.8)
    axes.plot(middles, smooth, color="black", linewidth=2)
    top = min(2.0, 1.1 * float(np.nanmax(smooth)))
    for rate in RATES:
        axes.axvline(rate, color=COLOURS[rate], linestyle="--", linewidth=1.5)
        axes.text(
            rate * 1.08, 0.02 * top, NAMES[rate], color=COLOURS[rate], rotation=90, va="bottom", fontsize=9
        )
    axes.text(
        1.9e-5, 0.97 * top, "BERT-base:\n2e-5 to 5e-5", ha="right", va="top", fontsize=8, color="#0072B2"
    )
    axes.text(
        2.8e-4,
        0.97 * top,
        "models this small:\n3e-5 to 3e-4",
        ha="right",
        va="top",
        fontsize=8,
        color="#00664B",
    )
    coin_toss(axes)
    axes.set(
        xscale="log",
        xlabel="learning rate of the step (logarithmic)",
        ylabel="batch loss",
        ylim=(0, top),
        title="The dial: one short run, the rate growing from step to step",
    )
    lowest = middles[int(np.nanargmin(smooth))]
    show(
        drawn,
        f"Batch loss while the learning rate grows from {rates[0]:g} to {rates[-1]:g}. Smoothed, it begins "
        f"at {smooth[0]:.2f}, is lowest, {np.nanmin(smooth):.2f}, near a rate of {lowest:.1e}, and ends at "
        f"{smooth[-1]:.2f}. "
        "Marked: 2e-5 to 5e-5, usual for BERT-base, and 3e-5 to 3e-4, usual for models of this size.",
    )


@figure
def seeds(results: dict[Any, Result], test: list[Batch]) -> None:
    """Show the test accuracy of five stored seeds at each rate, with the student's runs as stars."""
    finished(results)
    found: dict[float, list[float]] = {}
    for run in stored()["runs"]:
        if not run["cure"] and run["threads"] == 1:
            found.setdefault(run["rate"], []).append(run["test_accuracy"])
    drawn, axes = panels(height=3.6)
    for rate, values in sorted(found.items()):
        axes.plot(
            [rate] * len(values),
            values,
            "o",
            color=COLOURS.get(rate, GREY),
            markerfacecolor="none",
            markersize=7,
        )
    mine = {rate: loss_and_accuracy(results[rate].model, test)[1] for rate in RATES}
    for rate, value in mine.items():
        axes.plot(rate, value, "*", color=COLOURS[rate], markersize=14, markeredgecolor="black")
    axes.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    size = stored()["reviews"]["test"]
    half = 1.96 * float(np.sqrt(0.75 * 0.25 / size))
    axes.errorbar(8e-7, 0.75, half, color="black", capsize=4)
    axes.text(9.5e-7, 0.76 + half, f"how wide {size}\nreviews leave it", fontsize=8, va="bottom", ha="left")
    axes.set(
        xscale="log",
        xlabel="learning rate (logarithmic)",
        ylabel="test accuracy",
        ylim=(0.44, 0.86),
        xlim=(6e-7, 4e-2),
        title="Five seeds at each rate (rings), and your runs (stars)",
    )
    show(
        drawn,
        "Test accuracy of five stored seeds: "
        + " ".join(
            f"at {rate:g} {min(values):.2f} to {max(values):.2f}." for rate, values in sorted(found.items())
        )
        + " Your runs: "
        + ", ".join(f"at {NAMES[rate]} {value:.2f}" for rate, value in mine.items())
        + ".",
    )


@figure
def cures() -> None:
    """Show what cures do to accuracy and to the last layer, five seeds each."""
    rows = [
        (f"{NAMES[HIGH]}, as it was", HIGH, ""),
        ("gradients clipped to 1", HIGH, "clipping"),
        ("warm-up of two epochs", HIGH, "warm-up"),
        (f"collapsed, then {NAMES[MIDDLE]}", MIDDLE, "lowered"),
        (f"upper layers redrawn, {NAMES[MIDDLE]}", MIDDLE, "redrawn"),
        (f"{NAMES[MIDDLE]} from the start", MIDDLE, ""),
        (f"{NAMES[STANDARD]} from the start", STANDARD, ""),
    ]
    rows = [row for row in rows if runs(row[1], row[2])]
    drawn, (left, right) = panels(1, 2, height=3.4, sharey=True)
    said = []
    for y, (name, rate, cure) in enumerate(rows):
        accuracy = [run["test_accuracy"] for run in runs(rate, cure)]
        direction = [run["one_direction"][-1][1] for run in runs(rate, cure)]
        style = {"color": COLOURS[rate], "markerfacecolor": "none", "markersize": 7}
        left.plot(accuracy, [y] * len(accuracy), "o", **style)
        right.plot(direction, [y] * len(direction), "o", **style)
        said.append(
            f"{name}: test accuracy {min(accuracy):.2f} to {max(accuracy):.2f}, variance in one direction "
            f"{min(direction):.2f} to {max(direction):.2f}."
        )
    left.set(
        yticks=range(len(rows)),
        yticklabels=[row[0] for row in rows],
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="test accuracy",
        xlim=(0.45, 0.85),
    )
    right.set(xlabel="layer 3: share of variance\nin one direction", xlim=(0, 1.03))
    for axes in (left, right):
        axes.grid(axis="y", color="#EEEEEE")
    drawn.suptitle("Cures, five seeds each", fontsize=11, x=0.02, ha="left")
    show(drawn, "Five seeds each. " + " ".join(said))
