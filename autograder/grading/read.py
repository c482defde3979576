"""Read a submission, whatever it is."""

import json

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

# Notebook metadata key: {"remarks": [sentences for the instructor], "unreadable": bool}.
KEY = "autograder"


class SubmissionExporter(NotebookExporter):
    """nbgrader's exporter, with an empty notebook in place of a file that is none.

    Stock nbgrader stops at such a file and leaves the student without a row in the gradebook.
    """

    def from_file(self, file_stream, resources=None, **kwargs):
        """Export from an open text file; never raises for what is in it."""
        return self.from_notebook_node(read(file_stream), resources=resources, **kwargs)


def read(file_stream):
    """Return the notebook in `file_stream`, reduced to cells that are well formed."""
    try:
        text = file_stream.read()
        found = json.loads(text)
        if found.get("nbformat", 4) < 4:
            found = nbformat.convert(nbformat.reader.reads(text), 4)
        cells = list(found["cells"])
    except UnicodeDecodeError:
        return stand_in("The file is not a notebook but something binary: export it again as .ipynb.")
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith("{"):
            return stand_in(
                "The file is not a notebook: it holds no JSON. Save it from JupyterLab as .ipynb."
            )
        return stand_in(f"The file's JSON breaks off or is damaged at line {error.lineno}: upload it again.")
    except Exception:
        return stand_in("The file is JSON but no notebook: it has no cells. Save it from JupyterLab again.")
    notebook = new_notebook(cells=[cell for cell in map(well_formed, cells) if cell])
    metadata = found.get("metadata")
    for key in ("kernelspec", KEY):
        if isinstance(metadata, dict) and isinstance(metadata.get(key), dict):
            notebook.metadata[key] = metadata[key]
    return notebook


def grade_id(cell):
    """Return the cell's name in nbgrader, or None; metadata may be anything a student left there."""
    nbgrader = cell.metadata.get("nbgrader")
    return nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None


def stand_in(remark):
    """Return a notebook without cells for a submission that cannot be read."""
    notebook = new_notebook()
    notebook.metadata[KEY] = {"remarks": [remark], "unreadable": True}
    return notebook


def well_formed(cell):
    """Return the cell rebuilt from the fields that matter, or None."""
    source = cell.get("source") if isinstance(cell, dict) else None
    if isinstance(source, list):
        source = "".join(map(str, source))
    if not isinstance(source, str):
        return None
    make = new_code_cell if cell.get("cell_type") == "code" else new_markdown_cell
    rebuilt = make(source)
    if isinstance(cell.get("id"), str):
        rebuilt["id"] = cell["id"]
    if isinstance(cell.get("metadata"), dict):
        rebuilt["metadata"] = cell["metadata"]
    if cell.get("cell_type") == "code":
        rebuilt["outputs"] = cell.get("outputs", [])
        rebuilt["execution_count"] = cell.get("execution_count")
    return rebuilt
