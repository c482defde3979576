"""Make docs/index.html, the lesson's idea as a page to play with, from the stored runs.

    python docs/page/build.py

Puts style.css, play.js and what the page needs of data/runs/runs.json into template.html: one file that asks
nothing of a network. Numbers in its sentences are computed here; a sentence that compares runs carries the id
of its claim in docs/claims.md.
"""

import json
import re
from html import escape
from pathlib import Path
from string import Template

from autograder.tinybert.lesson import HIGH, MIDDLE, STANDARD, written

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = HERE.parent / "index.html"
MAIN = HIGH, MIDDLE, STANDARD
PARTS = "layer 2", "layer 3", "pooler", "classifier"  # those that learn
LAYER_3 = 1  # in what is measured of layers 2 and 3
SAME = 0.0101  # answers this near to each other count as the same
WORDS = "no", "one", "two", "three", "four", "five"


def of_page(stored):
    """Return what play.js needs: runs[rate][seed], rates from lowest to highest."""
    plain = [run for run in stored["runs"] if run["threads"] == 1 and not run["cure"]]
    rates = sorted({run["rate"] for run in plain})
    pretrained = stored["controls"]["pretrained"][0]
    drawn = [run["one_direction"][LAYER_3] for run in stored["controls"]["redrawn"]]
    return {
        "rates": [written(rate) for rate in rates],
        "values": rates,
        "asked": stored["sentences"]["asked"],
        "topics": stored["sentences"]["topics"],
        "parts": PARTS,
        "before": {
            "share": pretrained["one_direction"][LAYER_3],
            "asked": pretrained["asked"],
            "place": pretrained["place"],
        },
        "random": sum(drawn) / len(drawn),
        "runs": [[of_run(stored, plain, rate, seed) for seed in range(5)] for rate in rates],
    }


def of_run(stored, plain, rate, seed):
    [run] = [run for run in plain if (run["rate"], run["seed"]) == (rate, seed)]
    first = dict(zip(stored["parts"], stored["first_step"][f"{rate:g}"][seed]))
    moved = dict(zip(stored["parts"], run["moved"]))
    return {
        "steps": run["steps"],
        "training": run["training_loss"],
        "validation": run["validation_loss"],
        "accuracy": run["validation_accuracy"],
        "share": [layers[LAYER_3] for layers in run["one_direction"]],
        "asked": run["asked"],
        "place": run["place"],
        "kept": run["kept"][-1][LAYER_3],
        "first": [first[part] for part in PARTS],
        "moved": [moved[part] for part in PARTS if part in moved],
        "test": run["test_accuracy"],
    }


def percent(values, digits=0):
    """Return "69 to 98 %", or "7 %" if lowest and highest look alike."""
    low, high = (f"{100 * value + 1e-9:.{digits}f}" for value in (min(values), max(values)))
    return f"{low}&nbsp;%" if low == high else f"{low} to {high}&nbsp;%"


def alike(runs):
    """Return how many of the runs give all sentences that were asked the same answer in the end."""
    return sum(max(run["asked"][-1]) - min(run["asked"][-1]) <= SAME for run in runs)


def jumps(run):
    """Return the mean change of the loss from step to step in the first of ten epochs."""
    steps = run["steps"][: len(run["steps"]) // 10]
    return sum(abs(b - a) for a, b in zip(steps, steps[1:])) / (len(steps) - 1)


def numbers(page):
    """Return {name in template.html: text}."""
    of = dict(zip(page["values"], page["runs"]))
    high, middle, standard = (of[rate] for rate in MAIN)
    first = {rate: of[rate][0]["first"][0] for rate in MAIN}
    size = {rate: sum(jumps(run) for run in of[rate]) / len(of[rate]) for rate in MAIN}
    return {
        "runs": sum(map(len, page["runs"])),
        "steps": len(high[0]["steps"]),
        "alike_high": WORDS[alike(high)],
        "share_before": percent([page["before"]["share"]]),
        "share_random": percent([page["random"]]),
        "share_high": percent([run["share"][-1] for run in high]),
        "kept_high": percent([run["kept"] for run in high]),
        "kept_standard": percent([run["kept"] for run in standard]),
        "jump_high": f"{size[HIGH]:.2f}",
        "jump_standard": f"{size[STANDARD]:.2f}",
        "first_high": percent([first[HIGH]]),
        "first_middle": percent([first[MIDDLE]], 1),
        "first_standard": percent([first[STANDARD]], 2),
        "enough_high": round(1 / first[HIGH]),
        "enough_standard": f"{round(1 / first[STANDARD], -2):,.0f}",
        "share_between": percent([run["share"][-1] for run in of[1e-3]]),
        "test_between": percent([run["test"] for run in of[1e-3]]),
        "test_high": percent([run["test"] for run in high]),
        "test_middle": percent([run["test"] for run in middle]),
    }


def table(page):
    """Return the rows of the table: one for each learning rate, lowest to highest of its runs."""
    rows = []
    for rate, runs in zip(page["rates"], page["runs"]):
        cells = (
            percent([run["first"][0] for run in runs], 2),
            percent([run["share"][-1] for run in runs]),
            f"{alike(runs)} of {len(runs)}",
            percent([run["kept"] for run in runs]),
            percent([run["test"] for run in runs]),
        )
        rows.append(
            f'<tr><th scope="row">{rate}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )
    return "\n".join(rows)


def still(page):
    """Return the picture that stands there without scripts: the answers of all runs at three rates."""
    row, left, wide, gap, top = 22, 286, 190, 26, 40
    rates = MAIN[::-1]
    height = top + row * len(page["asked"]) + 24
    drawn = [
        f'<svg viewBox="0 0 {left + 3 * (wide + gap)} {height}" role="img" aria-labelledby="still-title">'
    ]
    drawn.append(
        '<title id="still-title">P(positive) of twelve sentences after ten epochs at three learning rates, '
        "five runs each. At 2e-5 and 3e-4 the lines of the runs go zigzag from sentence to sentence; at "
        "2.5e-3 they are straighter, some of them straight: the same answer to everything.</title>"
    )
    ys = [top + row * (k + 0.5) for k in range(len(page["asked"]))]
    for y, sentence in zip(ys, page["asked"]):
        drawn.append(f'<text x="{left - 14}" y="{y + 4:g}" class="end">{escape(sentence)}</text>')
    for k, rate in enumerate(rates):
        x0 = left + k * (wide + gap)
        drawn.append(f'<text x="{x0}" y="16" class="strong">{written(rate)}</text>')
        for x in (0, 0.5, 1):
            at = x0 + wide * x
            drawn.append(f'<path class="grid" d="M{at:g} {top}V{ys[-1] + row / 2:g}"/>')
            drawn.append(f'<text x="{at:g}" y="{height - 6}" class="middle small">{x:g}</text>')
        for run in page["runs"][page["values"].index(rate)]:
            points = " ".join(f"{x0 + wide * p:.1f},{y:g}" for p, y in zip(run["asked"][-1], ys))
            drawn.append(f'<polyline class="still-line" points="{points}"/>')
    return "\n".join([*drawn, "</svg>"])


def made():
    """Return the page's text."""
    page = of_page(json.loads((ROOT / "data" / "runs" / "runs.json").read_text()))
    template = (HERE / "template.html").read_text()
    template = re.sub(r"\b[\d.]+e-\d", r'<span class="nowrap">\g<0></span>', template)
    return Template(template).substitute(
        numbers(page),
        style=(HERE / "style.css").read_text(),
        script=(HERE / "play.js").read_text(),
        stored=json.dumps(page, separators=(",", ":")).replace("<", "\\u003c"),
        rows=table(page),
        still=still(page),
        ticks="".join(f"<span>{rate}</span>" for rate in page["rates"]),
        sentences="\n".join(
            f"<p><b>{escape(topic)}</b> {escape(' '.join(sentences))}</p>"
            for topic, sentences in page["topics"].items()
        ),
    )


if __name__ == "__main__":
    PAGE.write_text(made())
