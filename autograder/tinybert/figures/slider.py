"""The cloud of sentences with a slider over the epochs, which needs no kernel; a picture without scripts."""

import json
from html import escape
from typing import Any
from zlib import crc32

import numpy as np
from IPython.display import display

from .curves import RATES
from .inside import LOOK_FIRST, Inside, places
from .show import COLOURS, NAMES, bundle, figure, in_words, need, panels, png

TOPICS = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"
SHAPES = "o", "s", "^", "D", "v"
# The same as paths around (0, 0).
PATHS = (
    "M-5.5,0a5.5,5.5 0 1 0 11,0a5.5,5.5 0 1 0 -11,0Z",
    "M-5,-5H5V5H-5Z",
    "M0,-6.5L6,5H-6Z",
    "M0,-7L7,0L0,7L-7,0Z",
    "M0,6.5L6,-5H-6Z",
)
SIZE = 220  # of a panel, in units of the drawing
LINE, ROOM = 13, 33  # from one name to the next; half of the longest
HEAP = 55  # how wide sentences spread that are no heap

PAGE = """<div id="{name}">
<div class="still">{still}</div>
<div class="moving" hidden>
<p><label for="{name}-epoch">Epoch <output id="{name}-now">0</output>
<input id="{name}-epoch" type="range" min="0" max="{last}" value="0" step="1" style="width:60%"></label></p>
<svg viewBox="0 0 {width} {height}" width="{width}" role="img"
style="max-width:100%;height:auto;background:white" aria-label="{alt}">
{drawing}</svg>
<p>{legend}</p></div></div>
<script>(function () {{
const script = document.currentScript, places = {places};
const root = (script && script.previousElementSibling) || document.getElementById("{name}");
if (!root) return;
const slider = root.querySelector("input"), marks = [...root.querySelectorAll("svg .moves")];
const move = () => {{
  root.querySelector("output").textContent = slider.value;
  places.forEach((run, k) => run[slider.value].forEach(([x, y], i) => {{
    marks[k * run[0].length + i].setAttribute("transform", `translate(${{x}} ${{y}})`);
  }}));
}};
slider.addEventListener("input", move);
root.querySelector(".still").hidden = true;
root.querySelector(".moving").hidden = false;
move();
}})();</script>"""


@figure
def cloud(inside: Inside) -> None:
    """Show where the last layer puts everyday sentences, before and after, and in between by a slider."""
    need(inside, LOOK_FIRST)
    found = places(inside)
    kinds = [k for k, group in enumerate(inside.topics.values()) for _ in group]
    every = np.concatenate([place for run in found.values() for place in run])
    low, high = every.min(0), every.max(0)
    middle, reach = (low + high) / 2, 0.54 * float((high - low).max())
    picture = still(found, kinds, list(inside.topics), middle, reach)
    alt = words(found)
    shown = bundle(picture, alt)
    shown["data"]["text/html"] = page(found, inside.topics, middle, reach, shown["data"]["text/html"], alt)
    display(shown["data"], metadata=shown["metadata"], raw=True)
    in_words(alt)


def still(found: dict[Any, Any], kinds: list[int], topics: list[str], middle: Any, reach: float) -> str:
    """Return the picture: before, and after the last epoch at each rate."""
    drawn, grid = panels(2, 2, height=6.2, sharex=True, sharey=True)
    shown = [
        ("before", found[RATES[0]][0]),
        *((f"{NAMES[r]}, at the end", found[r][-1]) for r in RATES[::-1]),
    ]
    for axes, (name, place) in zip(grid.flat, shown):
        for k, topic in enumerate(topics):
            mine = place[[kind == k for kind in kinds]]
            axes.plot(
                mine[:, 0], mine[:, 1], SHAPES[k], color=TOPICS[k], markersize=6, alpha=0.85, label=topic
            )
        axes.set(
            title=name,
            xlim=(middle[0] - reach, middle[0] + reach),
            ylim=(middle[1] - reach, middle[1] + reach),
        )
        axes.set(xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(True)
    drawn.legend(
        *grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False
    )
    return png(drawn)


def page(
    found: dict[Any, Any], topics: dict[str, list[str]], middle: Any, reach: float, picture: str, alt: str
) -> str:
    """Return the HTML with the slider; `picture` is what stands there where scripts are off."""
    step = SIZE + 12
    moving = []
    drawing = []
    for k, rate in enumerate(RATES[::-1]):
        left = k * step
        drawing.append(
            f'<text x="{left + 4}" y="14" font-size="13" fill="{COLOURS[rate]}">{NAMES[rate]}</text>'
            f'<rect x="{left}" y="20" width="{SIZE}" height="{SIZE}" fill="none" stroke="#595959"/>'
        )
        # Names first, so that they cover no sentence.
        drawing += [
            f'<text class="moves" font-size="12" font-weight="bold" text-anchor="middle" fill="#595959">'
            f"{escape(topic)}</text>"
            for topic in topics
        ]
        drawing += [
            f'<path class="moves" d="{shape}" fill="{colour}" stroke="white">'
            f"<title>{escape(sentence)}</title></path>"
            for colour, shape, group in zip(TOPICS, PATHS, topics.values())
            for sentence in group
        ]
        corner = np.array([left, 20])
        scaled = [corner + SIZE * ((place - middle) / (2 * reach) * (1, -1) + 0.5) for place in found[rate]]
        moving.append(
            [np.concatenate([names(place, topics, corner), place]).round(1).tolist() for place in scaled]
        )
    legend = " ".join(
        f'<span style="white-space:nowrap"><svg viewBox="-8 -8 16 16" width="16" aria-hidden="true">'
        f'<path d="{shape}" fill="{colour}"/></svg> {escape(topic)}</span>'
        for colour, shape, topic in zip(TOPICS, PATHS, topics)
    )
    return PAGE.format(
        name=f"cloud-{crc32(json.dumps(moving).encode())}",
        last=len(moving[0]) - 1,
        width=3 * step - 12,
        height=SIZE + 22,
        drawing="\n".join(drawing),
        legend=legend,
        places=json.dumps(moving, separators=(",", ":")),
        still=picture,
        alt=escape(alt),
    )


def names(place: Any, topics: dict[str, list[str]], corner: Any) -> Any:
    """Return where the topics' names stand: amid their sentences, none over another.

    Where all sentences lie in one heap or on one line, the names stand beside it.
    """
    ends = np.cumsum([len(group) for group in topics.values()])
    found = np.array([group.mean(0) for group in np.split(place, ends[:-1])]) + (0, 4)
    order = np.argsort(found[:, 1])
    for before, k in zip(order, order[1:]):
        found[k, 1] = max(found[k, 1], found[before, 1] + LINE)
    found += np.maximum(0, HEAP - place.std(0)) * (1, 0.5)
    found[:, 1] -= max(0, found[:, 1].max() - corner[1] - SIZE + 4)
    found[:, 0] = found[:, 0].clip(corner[0] + ROOM, corner[0] + SIZE - ROOM)
    return found


def words(found: dict[Any, Any]) -> str:
    """Return in words how far apart the sentences are, on the plane of the figure."""

    def spread(place: Any) -> float:
        return float(np.sqrt(((place - place.mean(0)) ** 2).sum(1).mean()))

    before = spread(found[RATES[0]][0])
    return (
        "Forty everyday sentences of five topics, on the two directions in which the pre-trained model's "
        "vectors vary most. Mean distance from their centre, before = 1: "
        + ", ".join(f"{NAMES[rate]} {spread(found[rate][-1]) / before:.2f}" for rate in RATES[::-1])
        + "."
    )
