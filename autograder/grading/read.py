"""Read a submission, whatever it is."""

import json

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import from_dict
from nbformat.corpus.words import generate_corpus_id as random_cell_id
from nbformat.v4 import new_notebook
from nbformat.v4.rwbase import rejoin_lines
from nbgrader.preprocessors import ClearOutput as NbGraderClearOutput
from nbgrader.utils import is_grade

from ..judge.lines import printed_losses

# Notebook metadata key: {"remarks": [sentences for the instructor], "unreadable": bool,
# "losses": [of the run that was handed in]}; once it is executed also
# {"seconds": float, "limits": [sentences: what it hit, what it was refused]}.
KEY = "autograder"
FIGURE = "figure"  # tag of cells that only show something
MOST_OUTPUT = 2_000_000  # characters of a cell's outputs that are kept as they were handed in


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
    return rejoin_lines(notebook)


def grade_id(cell):
    """Return the cell's name in nbgrader, or None; metadata may be anything a student left there."""
    nbgrader = cell.metadata.get("nbgrader")
    return nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None


def losses(cells):
    """Return the losses that the cell `run` of a notebook has printed, as far as it has."""
    run = next((cell for cell in cells if grade_id(cell) == "run" and cell.cell_type == "code"), None)
    printed = (o.text for o in run.outputs if o.output_type == "stream") if run else ()
    return printed_losses("".join(printed))[:1000]


def counts(cells):
    """Return the code cells that a test may depend on: not those after the last one, nor figures.

    The others are not executed: they keep the outputs they were handed in with.
    """
    tests = [number for number, cell in enumerate(cells) if cell.cell_type == "code" and is_grade(cell)]
    return [
        cell
        for cell in cells[: tests[-1] + 1 if tests else None]
        if cell.cell_type == "code" and FIGURE not in cell.metadata.get("tags", [])
    ]


class ClearOutput(NbGraderClearOutput):
    """nbgrader's ClearOutput for the cells that are going to be executed."""

    def preprocess(self, nb, resources):
        """Clear the outputs of the cells that count."""
        self.counting = {id(cell) for cell in counts(nb.cells)}
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell, resources, cell_index):
        """Clear the outputs of one cell, if it counts."""
        if id(cell) not in self.counting:
            return cell, resources
        return super().preprocess_cell(cell, resources, cell_index)


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
    rebuilt = {
        # Not by new_code_cell: it validates every cell, and the exporter the notebook anyway.
        "id": cell["id"] if isinstance(cell.get("id"), str) else random_cell_id(),
        "cell_type": "code" if cell.get("cell_type") == "code" else "markdown",
        "metadata": cell["metadata"] if isinstance(cell.get("metadata"), dict) else {},
        "source": source,
    }
    if rebuilt["cell_type"] == "code":
        count = cell.get("execution_count")
        rebuilt["execution_count"] = count if isinstance(count, int) else None
        rebuilt["outputs"] = outputs(cell.get("outputs"))
    return from_dict(rebuilt)


def outputs(found):
    """Return a cell's outputs, or none where they are too large or no outputs at all."""
    try:
        for output in found:
            nbformat.validate(output, ref="output", version=4)
    except (nbformat.ValidationError, TypeError):
        return []
    return from_dict(found) if len(json.dumps(found)) <= MOST_OUTPUT else []
