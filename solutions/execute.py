"""Run the solution from top to bottom; store it with what it showed, and as a page to read.

    python solutions/execute.py

In the notebook figures are stored as plain pictures: GitHub's preview shows those, and not what stands in
HTML. The page, docs/solution.html, has the slider, and leaves out the code of figures.
"""

import copy
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat.v4 import new_markdown_cell

NAME = "08_tinybert_fine_tuning"
PATH = Path(__file__).parent / NAME / f"{NAME}.ipynb"
PAGE = Path(__file__).parents[1] / "docs" / "solution.html"
NOTE = f"""**This is the solution**, to read: both TODOs are written, every figure is as it came out, and
every question is answered. To write your own, open [the notebook](../notebooks/{NAME}/{NAME}.ipynb) in
JupyterLab."""
# Where nbconvert's template is too pale to be read by all, or tells links by colour alone.
STYLE = """<style>
:root { --jp-mirror-editor-comment-color: #2b6060; --jp-mirror-editor-number-color: #060;
  --jp-mirror-editor-operator-color: #7a00cc; }
.jp-InputArea-editor { overflow-x: auto; }
.jp-RenderedHTMLCommon :is(a:link, a:visited) { text-decoration: underline; }
</style>
"""


def without_bars(notebook):
    """Leave out progress bars, which only a running Jupyter can show."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if output.get("name") != "stderr"
                and not any("widget" in kind for kind in output.get("data", {}))
            ]
    notebook.metadata.pop("widgets", None)
    return notebook


def plain(notebook):
    """Return a copy whose figures are pictures and nothing else."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data.pop("text/html", None)
    return notebook


def page(notebook):
    """Return the notebook as HTML that asks nothing of the network."""
    exporter = HTMLExporter(mathjax_url="", require_js_url="")
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    folded = TagRemovePreprocessor(remove_input_tags={"figure"}, enabled=True)
    exporter.register_preprocessor(folded, enabled=True)
    named = {"metadata": {"name": f"Solution: {NAME}"}}
    notebook = copy.deepcopy(notebook)
    notebook.cells.insert(0, new_markdown_cell(NOTE, id="note"))
    source, _ = exporter.from_notebook_node(notebook, named)
    source = source.replace('href="../../', 'href="../')  # links that begin at the notebook's folder
    return source.replace("</head>", f"{STYLE}</head>", 1)


def main():
    notebook = nbformat.read(PATH, as_version=4)
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}}).execute()
    print(f"{time.monotonic() - begun:.0f} s")
    without_bars(notebook)
    nbformat.write(plain(notebook), PATH)
    PAGE.write_text(page(notebook))


if __name__ == "__main__":
    main()
