"""What students wrote, in a real browser: nothing of it runs there, and all of it can be read."""

import copy
import json
import re
import subprocess
from pathlib import Path

import nbformat
import nbgrader
import pytest
from bad_inputs import cell
from bs4 import BeautifulSoup
from conftest import CHROMIUM
from nbconvert.exporters import HTMLExporter
from nbconvert.filters import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.utils import compute_checksum, determine_grade
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
    "over_lines": ("prose", "<div>\n<img\nsrc=x\nonerror=\n'RUN'></div>"),
    "in_math": ("prose", "<math><mtext><img src=x onerror='RUN'></mtext></math>"),
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
            cell(notebook, "ask_smooth").source += "\n\n" + content
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
    assert CHROMIUM, "No Chromium: install it (`apt-get install chromium`), the pages are tried in a real browser."
    file = folder / "page.html"
    file.write_text(content.replace("<head>", "<head>" + WATCH, 1))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
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
    raw, acted = nbformat.reads(ways(release), as_version=4), set()
    for shown in (feedback, formgrader):
        folder = tmp_path / shown.__name__
        folder.mkdir()
        acted |= browse(folder, shown(raw))
    assert acted == WAYS.keys() | SIGHTS.keys()


def test_nothing_of_a_students_acts_in_the_report(tmp_path):
    contents = [way[1].replace("RUN", f"window.rt_{name}=1") for name, way in {**WAYS, **SIGHTS}.items()]
    rows = [row(student, mistakes=[f"`{student}` {student}"], limits=[student]) for student in contents]
    assert browse(tmp_path, report_page("08", CELLS, rows)) == set()


@pytest.mark.parametrize(
    "source",
    [
        r"$\href{javascript:alert(1)}{x}$",
        r"\\href{x}{y}",
        r"$\def\x{\hre}\x f$",
        r"$$\require{html}\style{position:fixed}{x}$$",
        r"$\unicode[;x]{65}$ \begin{align}\cssId{test_training_loop}{x}\end{align}",
        r"&#36;&#92;href{javascript:alert(1)}{x}&#36; &bsol;href",
        r"&\#92;href",
    ],
)
def test_tex_draws_formulas_and_nothing_else(source):
    commented = page(source.replace("ref", "<!-- -->ref").replace("quire", "<b-b></b-b>quire"))
    for shown in (markdown2html(markdown(source, {})[0]), page(source), commented):
        assert not re.search(r"\\(href|def|require|style|unicode|cssId)", BeautifulSoup(shown, "html.parser").text)


def test_formulas_stay():
    formula = r"$\frac{\alpha}{2} \leq \left(\text{loss}\right)$"
    assert markdown(formula, {})[0] == page(formula) == formula


def test_what_an_answer_looks_like_stays():
    source = """The loss *jumped* between 0.4 and 1.2 (a < b, 3 <4, x<sub>2</sub>), see `AdamW(lr=2.5e-3)`:

- [PyTorch](https://pytorch.org/docs), <br> and **$2.5 \\cdot 10^{-3}$** & more!

| rate | loss |
|------|------|
| 2e-5 | 0.69 |

```python
if loss > 1: print("C:\\temp")
```

![curve](attachment:my%20curve.png) ![dot](data:image/png;base64,DOT)""".replace("DOT", PNG)
    shown, pictures = markdown(source, {"my curve.png": {"image/png": PNG}, "unused.png": {"image/png": PNG}})
    assert shown == source.replace("my%20curve", "my_curve")
    assert pictures == {"my_curve.png": {"image/png": PNG}}


def test_what_only_other_pages_would_act_on():
    assert markdown("~~~ Mermaid\ngraph TD\n~~~", {})[0] == f"~~~{JOINER} Mermaid\ngraph TD\n~~~"  # JupyterLab draws it
    assert markdown(f"<![x](data:image/png;base64,{PNG})>", {})[0].startswith(f"<{JOINER}![x](")


def test_no_line_end_hides_a_heading_and_no_length_stops_a_page():
    assert markdown("Loss\r# test_training_loop", {})[0] == f"Loss\n# {JOINER}test_training_loop"
    assert len(markdown("\\begin{a}" * 20_000, {})[0]) < 21_000


def test_a_picture_that_is_not_there_stops_no_page():
    source, _ = markdown("x <y and ![](attachment:no.png)", {})
    notebook = nbformat.v4.new_notebook(cells=[new_markdown_cell(source)])
    assert f"x &lt;{JOINER}y and" in HTMLExporter().from_notebook_node(notebook)[0]


def test_text_loses_control_characters_but_keeps_colours():
    assert text("\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07\x1b[1A\x00\x9b31mloss\b\n\t0.7\r") == (
        "\x1b[31mred\x1b[0m 31mloss\n\t0.7\r"
    )
    assert text("\x1b[m" * 100_000 + "x") == "x"


def figure(**data):
    made = new_code_cell("1", outputs=[new_output("display_data", {k.replace("_", "/"): v for k, v in data.items()})])
    notebook, _ = Harmless().preprocess(nbformat.v4.new_notebook(cells=[made]), {})
    nbformat.validate(notebook)
    return notebook.cells[0].outputs


def test_figures_and_tables_survive():
    picture = f'<img style="max-width:100%" alt="Loss falls from 0.7 to 0.1." src="data:image/png;base64,{PNG}">'
    shown = figure(text_html=picture, text_plain="<Figure>")[0].data
    for part in ('alt="Loss falls from 0.7 to 0.1."', 'style="max-width:100%"', f'src="data:image/png;base64,{PNG}"'):
        assert part in shown["text/html"]
    table = '<table border="1" class="dataframe"><thead><tr style="text-align: right"><th>loss</th></tr></thead><tbody><tr><td>0.7</td></tr></tbody></table>'
    assert figure(text_html=table)[0].data["text/html"] == table


def test_pictures_are_pictures():
    drawn = figure(**{"image_svg+xml": "<svg xmlns='http://www.w3.org/2000/svg' onload='window.rt=1'></svg>"})[0].data
    assert list(drawn) == ["text/html"] and drawn["text/html"].startswith('<img alt="A drawing" src="data:image/svg+xml;base64,')
    assert figure(image_png=PNG)[0].data["image/png"] == PNG
    assert figure(image_png=f'{PNG}" onerror="window.rt=1') == []
    assert figure(text_html="<script>1</script>") == []
    assert figure(**{"application_vnd.jupyter.widget-view+json": {"model_id": "x"}, "application_json": {}}) == []


def test_html_that_browsers_choke_on_is_not_shown():
    for source in ("<div>" * 5_000 + "deep", "<b>x</b>" * 50_000):
        assert "too many" in page(source) and len(page(source)) < 200


def test_an_answer_that_nobody_touched_is_known_as_that(release):
    stub = copy.deepcopy(cell(release, "reflect_smooth"))
    stub.source = "<!-- Two to five sentences -->\n\n[...](../readme.md)"
    stub.metadata.nbgrader.checksum = compute_checksum(stub)
    shown, _ = Harmless().preprocess_cell(copy.deepcopy(stub), {}, 0)
    assert shown.source == stub.source and determine_grade(shown)[0] == 0


def test_verdicts_stay_and_errors_are_text(release):
    test = copy.deepcopy(cell(release, "test_training_loop"))
    verdict = new_output("execute_result", {"application/vnd.autograder.verdict+json": {}, "text/html": "<p role='status'>"})
    test.outputs = [verdict, new_output("error", ename="E", evalue="\x1b[2J<b>", traceback=["\x1b]0;x\x07<b>"])]
    before, pretended = copy.deepcopy(verdict), new_code_cell("1", outputs=[copy.deepcopy(verdict)])
    shown, _ = Harmless().preprocess_cell(test, {}, 0)
    assert shown.outputs[0] == before
    assert Harmless().preprocess_cell(pretended, {}, 0)[0].outputs[0].data == {"text/html": "<p></p>"}
    assert (shown.outputs[1].evalue, shown.outputs[1].traceback) == ("<b>", ["<b>"])
