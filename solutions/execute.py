"""Run the solution from top to bottom and store it with what it showed.

    python solutions/execute.py

Figures are stored as plain pictures: GitHub's preview shows those, and not what stands in HTML.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NAME = "08_tinybert_fine_tuning"
PATH = Path(__file__).parent / NAME / f"{NAME}.ipynb"


def plain(notebook):
    """Leave out what only a running Jupyter can show: pages where there is a picture, and progress bars."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data.pop("text/html", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if output.get("name") != "stderr"
                and not any("widget" in kind for kind in output.get("data", {}))
            ]
    notebook.metadata.pop("widgets", None)


def main():
    notebook = nbformat.read(PATH, as_version=4)
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}}).execute()
    print(f"{time.monotonic() - begun:.0f} s")
    plain(notebook)
    nbformat.write(notebook, PATH)


if __name__ == "__main__":
    main()
