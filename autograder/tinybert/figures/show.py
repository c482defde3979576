"""How every figure is drawn and displayed: colours, size, words for those who cannot see it."""

import functools
import os
from base64 import b64encode
from collections.abc import Callable
from html import escape
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..lesson import HIGH, MIDDLE, STANDARD, written

GREY, LIGHT = "#595959", "#D9D9D9"
# Okabe and Ito's colours, which the colour-blind can tell apart; shapes and dashes say the same.
COLOURS = {HIGH: "#D55E00", MIDDLE: "#0072B2", STANDARD: "#009E73", "baseline": "#CC79A7"}
MARKERS = {HIGH: "o", MIDDLE: "s", STANDARD: "^", "baseline": "X"}
DASHES = {HIGH: "-", MIDDLE: "--", STANDARD: "-.", "baseline": ":"}
NAMES: dict[Any, str] = {rate: written(rate) for rate in (HIGH, MIDDLE, STANDARD)}
NAMES["baseline"] = "bag of embeddings"
COIN_TOSS = float(np.log(2))
WIDTH = 7.0  # inches; shown 700 pixels wide, stored twice as fine
PIXELS, FINE, COARSE = 700, 200, 100
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
}


class Missing(Exception):
    """What a figure would show is not there yet; the message says which cell makes it."""


def figure(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that shows something: what is missing is said in a sentence.

    Under `nbgrader validate`, which shows no figures, it does nothing: they would be most of its time.
    """

    @functools.wraps(function)
    def shown(*arguments: Any, **settings: Any) -> Any:
        if os.environ.get("NBGRADER_EXECUTION") == "validate":
            return None
        try:
            with matplotlib.rc_context(STYLE):
                return function(*arguments, **settings)
        except Missing as what:
            print(what)

    return shown


def need(value: Any, sentence: str) -> Any:
    """Return a value; raise Missing with the sentence where it is None or empty."""
    if value is None or isinstance(value, (list, dict)) and not value:
        raise Missing(sentence)
    return value


def panels(rows: int = 1, columns: int = 1, height: float = 3.2, **settings: Any) -> tuple[Figure, Any]:
    """Return a figure as wide as the page, and its axes."""
    drawn = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots(rows, columns, **settings)


def png(drawn: Figure, dpi: int = FINE) -> str:
    """Return a figure as a PNG in base64, of 128 colours: a third of the size."""
    buffer, small = BytesIO(), BytesIO()
    drawn.savefig(buffer, format="png", dpi=dpi)
    Image.open(buffer).convert("RGB").quantize(128).save(small, "PNG")
    return b64encode(small.getvalue()).decode()


def bundle(picture: str, alt: str) -> dict[str, Any]:
    """Return what `display` takes: a page's image with its text, the plain image, and the text alone."""
    source = f"data:image/png;base64,{picture}"
    page = f'<img style="max-width:100%" width="{PIXELS}" alt="{escape(alt)}" src="{source}">'
    return {
        "data": {"text/html": page, "image/png": picture, "text/plain": alt},
        "metadata": {"image/png": {"width": PIXELS, "alt": alt}},
    }


def show(drawn: Figure, alt: str) -> None:
    """Display a figure, with its text for those who cannot see it, which everybody can unfold."""
    shown = bundle(png(drawn), alt)
    display(shown["data"], metadata=shown["metadata"], raw=True)
    in_words(alt)


def in_words(alt: str) -> None:
    """Display a figure's text, folded away."""
    text = f"<details><summary>This figure in words</summary><p>{escape(alt)}</p></details>"
    display({"text/html": text, "text/plain": f"In words: {alt}"}, raw=True)


def table(head: list[str], rows: list[list[str]], caption: str) -> None:
    """Display a table; the first column names its rows."""
    left = 'style="text-align:left"'  # for sentences; Jupyter sets all to the right
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row" {left}>{escape(row[0])}</th>'
        + "".join(f"<td {'' if cell[:1].isdigit() else left}>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    head_row = f"<caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead>"
    # A window that is too narrow scrolls the table, by keys too, and cuts nothing off.
    scrolls = f'style="overflow-x:auto" tabindex="0" role="region" aria-label="{escape(caption)}"'
    page = f"<div {scrolls}><table>{head_row}<tbody>{body}</tbody></table></div>"
    plain = "\n".join([caption, *(" | ".join(row) for row in [head, *rows])])
    display({"text/html": page, "text/plain": plain}, raw=True)


def coin_toss(axes: Any) -> None:
    """Mark the loss of a model that says 50 : 50 to everything."""
    axes.axhline(COIN_TOSS, color=GREY, linestyle=":", linewidth=1, zorder=0)
    axes.annotate(
        "coin toss, ln 2",
        (1, COIN_TOSS),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=GREY,
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},  # over a line's jumps
    )


def label_ends(axes: Any, ends: list[tuple[float, str, str]], gap: float = 0.07) -> None:
    """Write names beside the right ends of lines, (y, name, colour) each, none over another.

    gap: between two names, as a share of the axis.
    """
    low, high = axes.get_ylim()
    place = -np.inf
    for y, name, colour in sorted(ends):
        place = max(y, place + gap * (high - low))
        axes.text(
            1.02, place, name, color=colour, va="center", fontsize=9, transform=axes.get_yaxis_transform()
        )


def look(key: Any) -> dict[str, Any]:
    """Return how the line of a rate, or of the baseline, looks."""
    return {"color": COLOURS[key], "marker": MARKERS[key], "linestyle": DASHES[key], "markersize": 4}
