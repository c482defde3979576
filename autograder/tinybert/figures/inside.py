"""Figures of the inside: what happens to the vectors of ordinary sentences, layer by layer."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .. import rulers
from ..lesson import HIGH, MIDDLE, STANDARD, data_folder, general_sentences
from ..rulers import Array, View
from ..running import Lab, Result
from ..start import PARTS, redraw
from .curves import RATES, finished
from .show import (
    COLOURS,
    GREY,
    NAMES,
    figure,
    label_ends,
    look,
    need,
    panels,
    show,
    table,
)

LOOK_FIRST = "There is nothing to draw yet: run the cell that looks inside first (section 7)."
UPPER = 2, 3  # the encoder layers that are trained
DRAWS = 3  # of random upper layers, as a control


@dataclass
class Inside:
    """What the models' vectors are like. by_epoch: {rate: {ruler: one entry for each epoch, from 0 on}}."""

    sentences: list[str]
    topics: dict[str, list[str]]
    before: View  # of `sentences`, by the pre-trained model
    after: dict[Any, View] = field(default_factory=dict)
    controls: list[View] = field(default_factory=list)  # upper layers drawn at random
    moved: dict[Any, dict[str, float]] = field(default_factory=dict)
    by_epoch: dict[Any, dict[str, list[Any]]] = field(default_factory=dict)


def everyday() -> dict[str, Any]:
    """Return the stored everyday sentences: "asked", a list, and "topics", {topic: list}."""
    return dict(json.loads((data_folder() / "runs" / "sentences.json").read_text()))


@figure
def look_inside(lab: Lab, results: dict[Any, Result], tokenizer: Any) -> Inside:
    """Measure the vectors of ordinary sentences, at every rate and after every epoch."""
    finished(results)
    topics = everyday()["topics"]
    flat = [sentence for group in topics.values() for sentence in group]
    found = Inside(general_sentences(), topics, rulers.view(lab.pretrained, tokenizer, general_sentences()))
    centre, directions = rulers.plane(rulers.view(lab.pretrained, tokenizer, flat).sentences[-1])
    epochs = len(results[HIGH].diary.weights)
    with tqdm(total=epochs * len(RATES), desc="looking inside", unit="epoch", leave=False) as bar:
        for rate in RATES:
            kept: dict[str, list[Any]] = {"one direction": [], "cosine": [], "place": []}
            for epoch in range(epochs):
                model = results[rate].diary.model_after(epoch)
                seen = rulers.view(model, tokenizer, found.sentences)
                kept["one direction"].append([rulers.one_direction(seen.tokens[k + 1]) for k in UPPER])
                kept["cosine"].append([rulers.mean_cosine(seen.sentences[k + 1]) for k in UPPER])
                kept["place"].append(
                    (rulers.view(model, tokenizer, flat).sentences[-1] - centre) @ directions
                )
                bar.update()
            found.by_epoch[rate], found.after[rate] = kept, seen
            found.moved[rate] = {
                part: rulers.change(lab.pretrained, results[rate].model, part) for part in PARTS
            }
    for _ in range(DRAWS):
        control = results[HIGH].diary.model_after(0)
        redraw(control)
        found.controls.append(rulers.view(control, tokenizer, found.sentences))
    return found


@figure
def collapse(inside: Inside) -> None:
    """Show, by epoch and layer, the share of variance in one direction and how alike sentences are."""
    need(inside, LOOK_FIRST)
    drawn, grid = panels(2, 2, height=5.6, sharex=True, sharey="row")
    rows = (
        ("one direction", "share of variance\nin one direction"),
        ("cosine", "mean cosine of\ntwo sentences"),
    )
    said = []
    for axes_row, (ruler, name) in zip(grid, rows):
        axes_row[0].set_ylabel(name)
        for k, axes in enumerate(axes_row):
            layer = UPPER[k] + 1
            views = [
                v.tokens[layer] if ruler == "one direction" else v.sentences[layer] for v in inside.controls
            ]
            measured = rulers.one_direction if ruler == "one direction" else rulers.mean_cosine
            random = [measured(x) for x in views]
            axes.axhspan(min(random) - 0.01, max(random) + 0.01, color="#DDDDDD", zorder=0)
            for rate in RATES:
                values = [epoch[k] for epoch in inside.by_epoch[rate][ruler]]
                axes.plot(range(len(values)), values, linewidth=2, **look(rate))
                said.append(
                    f"{ruler}, layer {UPPER[k]}, {NAMES[rate]}: {values[0]:.2f} before, {values[1]:.2f} "
                    f"after one epoch, {values[-1]:.2f} at the end."
                )
            if k:
                ends = [(inside.by_epoch[rate][ruler][-1][k], NAMES[rate], COLOURS[rate]) for rate in RATES]
                label_ends(axes, [*ends, (float(np.mean(random)), "random layers", GREY)], gap=0.08)
            axes.set_ylim(0, 1.03)
    for k in range(2):
        grid[0][k].set_title(f"layer {UPPER[k]}")
        grid[1][k].set(xlabel="epoch", xticks=range(0, len(inside.by_epoch[HIGH]["cosine"]), 2))
    show(drawn, "By epoch. " + " ".join(said) + " Grey: upper layers drawn at random.")


@figure
def neighbours(inside: Inside, places: tuple[int, ...] = (1, 4, 5, 10, 14)) -> None:
    """Show the nearest neighbour of some sentences, before and after, and how many of all were kept."""
    need(inside, LOOK_FIRST)
    views: dict[Any, View] = {
        "before": inside.before,
        **{rate: inside.after[rate] for rate in (STANDARD, MIDDLE, HIGH)},
    }
    nearest = {key: rulers.nearest(seen.sentences[-1]) for key, seen in views.items()}
    rows = [
        [inside.sentences[k], *(inside.sentences[found[k]] for found in nearest.values())] for k in places
    ]
    kept = [
        f"{rulers.neighbours_kept(inside.before.sentences[-1], seen.sentences[-1]):.0%}"
        for seen in views.values()
    ]
    rows.append(["kept, of all 160", *kept])
    table(
        ["sentence", "nearest before", *(f"nearest at {NAMES[key]}" for key in (STANDARD, MIDDLE, HIGH))],
        rows,
        "Nearest neighbours by the last layer's vectors",
    )


@figure
def controls(inside: Inside) -> None:
    """Show four rulers on the last layer, each with its controls."""
    need(inside, LOOK_FIRST)
    before = inside.before

    def measured(seen: View, layer: int = -1) -> list[float]:
        return [
            rulers.one_direction(seen.tokens[layer]),
            rulers.mean_cosine(seen.sentences[layer]),
            rulers.neighbours_kept(before.sentences[layer], seen.sentences[layer]),
            rulers.linear_cka(before.tokens[layer], seen.tokens[layer]),
        ]

    names = [
        "share of variance\nin one direction",
        "mean cosine of\ntwo sentences",
        "nearest\nneighbours kept",
        "linear CKA with\nthe pre-trained model",
    ]
    drawn, axes = panels(height=3.6)
    sets: list[tuple[str, list[list[float]], str, str]] = [
        ("pre-trained", [measured(before)], "|", "black"),
        ("upper layers at random", [measured(seen) for seen in inside.controls], "x", GREY),
        *(
            (NAMES[rate], [measured(inside.after[rate])], str(look(rate)["marker"]), COLOURS[rate])
            for rate in (STANDARD, MIDDLE, HIGH)
        ),
    ]
    for number, (name, several, marker, colour) in enumerate(sets):
        for j, values in enumerate(several):
            heights = np.arange(len(values)) + 0.14 * (number - 2)
            axes.plot(
                values,
                heights,
                marker,
                color=colour,
                markersize=11 if marker == "|" else 7,
                markeredgewidth=2,
                label=name if not j else None,
            )
    for y in range(len(names) - 1):
        axes.axhline(y + 0.5, color="#DDDDDD", linewidth=0.8)
    axes.set(
        xlim=(-0.03, 1.03),
        ylim=(len(names) - 0.5, -0.5),
        yticks=range(len(names)),
        yticklabels=names,
        title="Four rulers on layer 3, each with its controls",
    )
    drawn.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    show(
        drawn,
        "Layer 3. "
        + " ".join(
            f"{ruler.replace(chr(10), ' ')}: "
            + ", ".join(
                f"{name} {' / '.join(f'{values[k]:.2f}' for values in several)}"
                for name, several, _, _ in sets
            )
            + "."
            for k, ruler in enumerate(names)
        ),
    )


@figure
def movement(inside: Inside) -> None:
    """Show how far the weights of each part have moved."""
    need(inside, LOOK_FIRST)
    parts = list(PARTS)[:-1]
    rows = [
        [NAMES[rate], *(f"{inside.moved[rate][part]:.0%}" for part in parts)]
        for rate in (STANDARD, MIDDLE, HIGH)
    ]
    table(["rate", *parts], rows, "How far the weights moved, as a share of their size")


def places(inside: Inside) -> dict[Any, list[Array]]:
    """Return {rate: positions of the topics' sentences in two dimensions, one array for each epoch}."""
    return {rate: measured["place"] for rate, measured in inside.by_epoch.items()}
