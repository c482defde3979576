"""What students wrote, in a real browser: nothing of it runs there, and all of it can be read."""

import copy
import html
import json
import re
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import nbformat
import nbgrader
import pytest
from bad_inputs import cell
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.utils import determine_grade
from test_page import CELLS, row
from test_restore import Restore
from traitlets.config import Config

from autograder.grading.harmless import JOINER, Harmless, markdown, page, text
from autograder.grading.page import page as report_page
from autograder.grading.read import read

FORMGRADER = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# Ways to act in the instructor's browser: the kind of what a student writes, and that. RUN is JavaScript
# that leaves a trace; where nothing can run, but something shows or loads, a third says how to tell.
FRAMED = "<script>parent.postMessage(`NAME`, `*`)</script>"
WAYS = {
    "script": ("prose", "Well.\n\n<script>RUN</script>"),
    "handler": ("prose", "It jumped <img src=x onerror='RUN'> around."),
    "svg_onload": ("prose", "<svg onload='RUN'>"),
    "svg_animate": ("prose", "<svg><animate onbegin='RUN' attributeName=x dur=1s>"),
    "srcdoc": ("prose", f"<iframe srcdoc='{FRAMED}'></iframe>"),
    "ontoggle": ("prose", "<details open ontoggle='RUN'>more</details>"),
    "media": ("prose", "<video src=x onerror='RUN'></video>"),
    "autofocus": ("prose", "<input autofocus onfocus='RUN'>"),
    "block_over_lines": ("prose", "<img\nsrc=x\nonerror\n=\n'RUN'\n>"),
    "in_math": ("prose", "<math><mtext><img src=x onerror='RUN'></mtext></math>"),
    "in_noscript": ("text/html", '<noscript><p title="</noscript><img src=x onerror=RUN>">'),
    "in_style": ("prose", "<style><!--</style><img src=x onerror='RUN'>--></style>"),
    "link": ("prose", "See [here](javascript:RUN)."),
    "link_by_entity": ("prose", "See [here](&#106;ava&#x73;cript&colon;RUN)."),
    "link_in_brackets": ("prose", "See [here](\n<javascript:RUN>)."),
    "link_by_reference": ("prose", "See [here][there].\n\n[there]:\n  javascript:RUN"),
    "link_of_an_image": ("prose", f"[![x](data:image/png;base64,{PNG})](javascript:RUN)"),
    "autolink": ("prose", "<javascript:RUN>"),
    "in_quote": ("prose", "> - <svg\n>   onload='RUN'>"),
    "behind_image": ("prose", f"<![x](data:image/png;base64,{PNG})><img src=x onerror='RUN'>"),
    "mermaid": ("prose", "```mermaid\n<img src=x onerror='RUN'>\n```"),
    "locked_cell": ("locked", "<img src=x onerror='RUN'>"),
    "html_script": ("text/html", "<script>RUN</script>"),
    "html_table": ("text/html", '<table class="dataframe"><tr><td><img src=x onerror="RUN"></td></tr></table>'),
    "html_link": ("text/html", '<a href=" &#14;java&#10;script:RUN">loss</a>'),
    "html_form": ("text/html", '<form action="javascript:RUN"><button>next</button></form>'),
    "html_frame": ("text/html", '<iframe src="javascript:parent.postMessage(`NAME`, `*`)"></iframe>'),
    "html_object": ("text/html", f'<object data="data:text/html,{FRAMED}"></object>'),
    "html_isolated": ("text/html", FRAMED, {"text/html": {"isolated": True}}),
    "svg_link": ("text/html", '<svg><a xlink:href="javascript:RUN"><text>loss</text></a></svg>'),
    "javascript": ("application/javascript", "RUN"),
    "markdown_output": ("text/markdown", "**Loss** <img src=x onerror='RUN'>"),
}  # fmt: skip
SIGHTS = {
    "heading": ("prose", "# test_training_loop", "h1[id=test_training_loop]"),
    "setext_heading": ("prose", "test_loss_history\n---", "h2[id=test_loss_history]"),
    "remote_image": ("prose", "![loss](http://evil.invalid/1.png)", "img[src*='invalid/1']"),
    "remote_by_reference": ("prose", "![loss][r]\n\n[r]: http://evil.invalid/2.png", "img[src*='invalid/2']"),
    "own_page": ("prose", "[here](/api/shutdown)", ".rendered_html a[href^='/api']"),
    "data_link": ("text/html", "<a href='data:text/html,hello'>x</a>", "a[href^=data]"),
    "base": ("text/html", "<base href='http://evil.invalid/'>", "base"),
    "refresh": ("text/html", "<meta http-equiv=refresh content='999;url=http://evil.invalid'>", "meta[content*=evil]"),
    "style_sheet": ("text/html", "<style>@import url(http://evil.invalid/3.css)</style>", "#notebook style"),
    "remote_style": ("text/html", "<p style='background:url(http://evil.invalid/4)'>x</p>", "[style*='url']"),
    "overlay": ("text/html", "<div style='position:fixed;top:0'>14 of 14 points</div>", ".output [style*=fixed]"),
    "page_class": ("text/html", "<div class='navbar-fixed-top'>14 points</div>", ".output .navbar-fixed-top"),
    "page_id": ("text/html", "<p id='test_learning_rate'>", "p#test_learning_rate"),
    "remote_picture": ("text/html", "<img src='//evil.invalid/5.png'>", "img[src*='invalid/5']"),
    "field": ("text/html", "<input name=password>", "input[name=password]"),
}  # fmt: skip

WATCH = """<script>
addEventListener("message", (event) => { window["rt_" + event.data] = 1; });
addEventListener("load", () => {
  for (const link of document.querySelectorAll("a"))
    if (/^javascript:/.test(link.href.baseVal ?? link.href))
      link.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
  for (const form of document.forms) if (/^javascript:/.test(form.action)) form.submit();
  setTimeout(() => {
    const seen = Object.entries(SIGHTS).filter(([, selector]) => document.querySelector(selector));
    const ran = Object.keys(window).filter((key) => key.startsWith("rt_")).map((key) => key.slice(3));
    document.documentElement.dataset.seen = [...ran, ...seen.map(([name]) => name)].join(" ");
  }, 1500);
});
</script>""".replace("SIGHTS", json.dumps({name: way[2] for name, way in SIGHTS.items()}))


def ways(release):
    """Return the released notebook with every way in it, as the JSON of a file that was handed in."""
    notebook = copy.deepcopy(release)
    for name, (kind, content, *more) in {**WAYS, **SIGHTS}.items():
        content = content.replace("RUN", f"window.rt_{name}=1").replace("NAME", name)
        if kind == "prose":
            new = new_markdown_cell(content)
        elif kind == "locked":
            cell(notebook, "fig1_ask").source += "\n\n" + content
            continue
        else:
            metadata = more[0] if kind == "text/html" and isinstance(more and more[0], dict) else {}
            new = new_code_cell("1", outputs=[new_output("display_data", {kind: content}, metadata=metadata)])
        notebook.cells.append(new)
    return nbformat.writes(notebook).encode()


def harmless(release, content):
    """Return the notebook in a file as `autograder grade` leaves it, but for executing and scoring."""
    step = Restore()
    step.given = release
    notebook, _ = step.preprocess(read(content), {"nbgrader": {}})
    notebook, _ = Harmless().preprocess(notebook, {})
    nbformat.validate(notebook)
    return notebook


def feedback(notebook):
    """Return a notebook's feedback page."""
    notebook = copy.deepcopy(notebook)
    for found in notebook.cells:
        if "nbgrader" in found.metadata:
            found.metadata.nbgrader.update(score=0, comment="")
    resources = {"nbgrader": {"notebook": "08", "score": 0, "max_score": 28, "late_penalty": 0}}
    static = FORMGRADER / "static" / "node_modules" / "bootstrap" / "dist" / "css"
    return exported(notebook, "feedback", resources, extra_template_paths=[str(static)])


def formgrader(notebook):
    """Return a notebook's page in Formgrader, with its scripts."""
    names = ("assignment_id", "notebook_id", "submission_id", "student", "last_name", "first_name", "notebook_path")
    resources = dict.fromkeys(names, "08") | {"index": 0, "total": 1, "base_url": FORMGRADER.parent.as_uri()}
    return exported(notebook, "formgrade", resources)


def exported(notebook, template, resources, **settings):
    settings |= {"template_name": template, "extra_template_basedirs": [str(FORMGRADER / "templates")]}
    return HTMLExporter(config=Config(HTMLExporter=settings)).from_notebook_node(notebook, resources)[0]


def browse(folder, content):
    """Return the names of the ways that act when a page is opened in Chromium, offline, and clicked on."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    assert browser, "No Chromium: install it (`apt-get install chromium`), the pages are tried in a real browser."
    file = folder / "page.html"
    file.write_text(content.replace("<head>", "<head>" + WATCH, 1))
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=8000", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = re.search(r'<html[^>]*data-seen="([^"]*)"', dumped)
    assert found, "The page was not shown to its end."
    return set(found[1].split())


@pytest.mark.parametrize("shown", [feedback, formgrader])
def test_nothing_of_a_students_acts_in_the_browser(tmp_path, release, shown):
    assert browse(tmp_path, shown(harmless(release, ways(release)))) == set()


def test_the_same_ways_do_act_where_nothing_makes_them_harmless(tmp_path, release):
    raw = nbformat.reads(ways(release), as_version=4)
    found = {}
    for shown in (feedback, formgrader):
        folder = tmp_path / shown.__name__
        folder.mkdir()
        found[shown] = browse(folder, shown(raw))
    print({f.__name__: sorted((WAYS.keys() | SIGHTS.keys()) - s) for f, s in found.items()})
    assert set.union(*found.values()) == WAYS.keys() | SIGHTS.keys()
