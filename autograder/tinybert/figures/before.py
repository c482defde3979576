"""Figures before the run: the student's own sentences, a batch, the model's parts, a prediction, a step."""

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import numpy as np

from .. import rulers
from ..lesson import HIGH, MIDDLE, STANDARD
from ..running import Lab
from ..start import PARTS, Batch, collate
from .show import (
    COIN_TOSS,
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    NAMES,
    Missing,
    coin_toss,
    figure,
    need,
    panels,
    show,
)


@figure
def ask(sentences: Sequence[str], tokenizer: Any, models: dict[Any, Any]) -> None:
    """Show P(positive) of sentences as each model says it. models: by rate, or by any other name."""
    if not isinstance(sentences, (list, tuple)) or not sentences:
        raise Missing('`my_sentences` should be a list of sentences, such as ["Good.", "Not good."].')
    texts = [str(sentence) for sentence in sentences]
    drawn, axes = panels(height=1.2 + 0.3 * len(texts))
    said = {key: rulers.positive_of(model, tokenizer, texts) for key, model in models.items()}
    axes.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    for key, chances in said.items():
        axes.plot(
            chances,
            range(len(texts)),
            MARKERS.get(key, "D"),
            color=COLOURS.get(key, "black"),
            label=NAMES.get(key, key),
            markersize=7,
            alpha=0.85,
        )
    axes.set(
        yticks=range(len(texts)),
        yticklabels=[shorten(t, 46, placeholder=" …").replace("$", r"\$") for t in texts],
        xlim=(-0.03, 1.03),
    )
    axes.set(xlabel="P(positive): negative review ← → positive review", ylim=(len(texts) - 0.5, -0.5))
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)
    title = "P(positive) of your sentences, at each rate"
    if len(said) > 1:
        drawn.legend(loc="outside lower center", ncols=len(said), frameon=False)
    for key, chances in said.items() if len(said) == 1 else ():
        title = f"P(positive), {NAMES.get(key, key)}: from {chances.min():.2f} to {chances.max():.2f}"
    drawn.suptitle(title, fontsize=11, x=0.01, ha="left")
    show(
        drawn,
        "P(positive) of your sentences. "
        + " ".join(
            f"{text!r}: "
            + ", ".join(f"{NAMES.get(key, key)} {chances[k]:.2f}" for key, chances in said.items())
            + "."
            for k, text in enumerate(texts)
        ),
    )


@figure
def batch(reviews: Any, tokenizer: Any) -> None:
    """Show six short reviews as the model gets them: tokens, mask, padding."""
    found: dict[int, Any] = {}
    for row in reviews:
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(row["text"])["input_ids"])
        if len(tokens) <= 13 and max(map(len, tokens)) <= 9:
            found.setdefault(len(tokens), row)
    rows = [found[length] for length in sorted(found)[-6:]]
    input_ids, attention_mask, _ = collate(need(rows, "No review is short enough to be drawn."), tokenizer)
    drawn, axes = panels(height=2.6)
    axes.imshow(attention_mask.numpy(), cmap="cividis", aspect="auto", vmin=-0.4, vmax=1.3)
    for i, ids in enumerate(input_ids.tolist()):
        for j, token in enumerate(tokenizer.convert_ids_to_tokens(ids)):
            colour = "black" if attention_mask[i, j] else "#DDDDDD"
            axes.text(j, i, token, ha="center", va="center", fontsize=7, color=colour)
    axes.set(
        xlabel="position in the padded batch",
        ylabel="review",
        yticks=range(len(rows)),
        title="A small batch: attention mask 1 (bright: a token) and 0 (dark: padding)",
    )
    axes.set_xticks(range(input_ids.shape[1]))
    counts = attention_mask.sum(1).tolist()
    show(
        drawn,
        f"A grid of {len(rows)} reviews by token position. The first {counts} positions of the rows are "
        f"bright, where the attention mask is 1; the rest, up to {input_ids.shape[1]}, are dark: padding.",
    )


@figure
def parameters(model: Any) -> None:
    """Show how many parameters each part has, and which are frozen."""
    named = list(model.named_parameters())
    counts = {part: sum(p.numel() for n, p in named if n.startswith(start)) for part, start in PARTS.items()}
    frozen = {part: not any(p.requires_grad for n, p in named if n.startswith(PARTS[part])) for part in PARTS}
    drawn, axes = panels(height=2.6)
    for y, (part, count) in enumerate(counts.items()):
        colour = "#999999" if frozen[part] else COLOURS[MIDDLE]
        axes.plot([100, count], [y, y], color=colour, linewidth=2, linestyle=":" if frozen[part] else "-")
        axes.plot(
            count, y, "o", color=colour, markerfacecolor="white" if frozen[part] else colour, markersize=8
        )
        axes.text(
            count * 1.35, y, f"{count:,} {'frozen' if frozen[part] else 'trained'}", va="center", fontsize=9
        )
    axes.set(
        xscale="log",
        xlim=(100, 4e8),
        yticks=range(len(counts)),
        yticklabels=list(counts),
        ylim=(6.5, -0.5),
        xlabel="parameters (logarithmic)",
    )
    trained = sum(p.numel() for _, p in named if p.requires_grad)
    total = sum(p.numel() for _, p in named)
    axes.set_title(f"{trained:,} of {total:,} parameters will be trained")
    show(
        drawn,
        "Parameters of each part of the model. "
        + " ".join(
            f"{part}: {count:,}, {'frozen' if frozen[part] else 'trained'}." for part, count in counts.items()
        ),
    )


def guess(prediction: Any, epochs: int = 10) -> list[float] | None:
    """Return a prediction as a list of numbers, or None where it is none."""
    try:
        values = [float(value) for value in prediction]
    except (TypeError, ValueError):
        return None
    return values if len(values) == epochs and np.isfinite(values).all() else None


@figure
def predict(prediction: Any) -> None:
    """Draw the student's guess of the ten mean training losses."""
    values = guess(prediction)
    if values is None:
        raise Missing(
            "`prediction` should be a list of ten numbers, one for each epoch, such as [0.7, 0.6, …]."
        )
    drawn, axes = panels(height=2.6)
    axes.plot(range(1, 11), values, "D--", color="black", markersize=4)
    axes.set(
        xlabel="epoch",
        ylabel="mean training loss",
        xticks=range(1, 11),
        ylim=(0, max(1.0, 1.1 * max(values))),
        title=f"Your prediction for ten epochs at {NAMES[HIGH]}",
    )
    coin_toss(axes)
    show(
        drawn,
        "Your prediction of the mean training loss, epoch by epoch: "
        + ", ".join(f"{v:.2f}" for v in values)
        + f". A coin toss has {COIN_TOSS:.2f}.",
    )


@figure
def step_size(lab: Lab, model: Any, optimizer: Any) -> None:
    """Show by how much one step of the student's optimizer changes each part's weights, at three rates."""
    if not hasattr(optimizer, "param_groups"):
        raise Missing("`optimizer` is not there yet: write TODO #1 and run its cell first.")
    batch: Batch = next(iter(lab.train_loader))
    drawn, axes = panels(height=3.0)
    said = []
    for rate in (HIGH, MIDDLE, STANDARD):
        ratios = rulers.step_to_weight(*lab.twins(model, optimizer, rate), batch, rate)
        moved = {part: ratio for part, ratio in ratios.items() if ratio > 0}
        places = [list(PARTS).index(part) for part in moved]
        axes.plot(
            list(moved.values()),
            places,
            MARKERS[rate],
            color=COLOURS[rate],
            linestyle=DASHES[rate],
            linewidth=1,
            markersize=7,
        )
        if "layer 2" in moved:
            axes.annotate(
                f"{NAMES[rate]}: {moved['layer 2']:.2%}",
                (moved["layer 2"], 3),
                xytext=(8, 0),
                va="center",
                textcoords="offset points",
                color=COLOURS[rate],
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},  # over the dotted line
            )
        said.append(
            f"{NAMES[rate]}: " + ", ".join(f"{part} {ratio:.2%}" for part, ratio in moved.items()) + "."
        )
    axes.axvline(1e-3, color=GREY, linestyle=":", linewidth=1)
    axes.text(1.05e-3, -0.3, "0.1%, a common rule of thumb", color=GREY, fontsize=8, va="center")
    axes.axhspan(-0.5, 2.5, color="#EEEEEE", zorder=0)
    axes.text(1.3e-4, 1, "frozen: no step", color=GREY, fontsize=9, va="center")
    axes.set(
        xscale="log",
        yticks=range(len(PARTS)),
        yticklabels=list(PARTS),
        ylim=(6.5, -0.8),
        xlim=(1e-4, 1),
        xlabel="size of one step, as a share of the size of the weights (logarithmic)",
        title="One step of your optimizer, at three learning rates",
    )
    show(drawn, "Size of one step over the size of the weights, by part of the model. " + " ".join(said))
