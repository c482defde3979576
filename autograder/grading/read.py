"""Read a submission, whatever it is."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard

import nbformat
from nbconvert.exporters import NotebookExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode, from_dict
from nbformat.corpus.words import generate_corpus_id as random_cell_id
from nbformat.v4 import new_notebook
from nbgrader.preprocessors import ClearOutput as NbGraderClearOutput

from ..cells import counts
from ..lessons import KEY, Lesson
from .faults import NotGraded

Processed = tuple[NotebookNode, ResourcesDict]  # what a preprocessor returns

# Notebook metadata key: {"remarks": [sentences for the instructor],
# "lesson": its name, from the release, "losses": [of the run that was handed in]}; once it is executed
# also {"seconds": float, "limits": [sentences: what it hit, what it was refused]}.
MOST_BYTES = 50_000_000  # of a file that is read
MOST_SOURCE = 200_000  # characters of a cell
MOST_OUTPUT = 2_000_000  # characters of a cell's outputs that are kept as they were handed in
IMAGES = ("image/png", "image/jpeg", "image/gif")
KEPT = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml", *IMAGES)

SOURCES = ("source", "input", "code", "text")  # what formats 4, 3, 2 and 1 call it
CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # as nbformat has it
SURROGATE = re.compile("[\ud800-\udfff]")

# What people hand in in place of a notebook: how such a file begins, and what it is.
MISTAKEN = [
    (r"%PDF", "is a PDF"),
    (r"PK\x03\x04", "is a zip archive or an Office document"),
    (r"version https://git-lfs", "is a pointer of Git LFS to the notebook"),
    (r"<<<<<<< ", "holds two versions between which Git found a conflict"),
    (r"{\\rtf", "is a text document of a word processor"),
    (r"(?i)<(!doctype|html|\?xml)", "is a web page, saved in place of the notebook that it shows"),
    (
        r"#!|# ?%%|# In\[|# coding|\"{3}|'{3}|import [\w., ]+\n|from [\w.]+ import |(def|class) \w+[(:]",
        "is a Python script",
    ),
]
NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")


class SubmissionExporter(NotebookExporter):
    """nbgrader's exporter, which reads what a student handed in with `read`."""

    parent: Any  # a converter of nbgrader's

    def from_file(self, file_stream: Any, resources: Any = None, **kwargs: Any) -> tuple[str, Any]:  # type: ignore[override]
        """Export from an open file. Raises NotGraded where it is no notebook."""
        stream = getattr(file_stream, "buffer", file_stream)
        content = stream.read() if self.is_ours(resources) else stream.read(MOST_BYTES + 1)
        content = content.encode() if isinstance(content, str) else content
        notebook = nbformat.reads(content, 4) if self.is_ours(resources) else read(content)
        return self.from_notebook_node(notebook, resources=resources, **kwargs)

    def is_ours(self, resources: ResourcesDict) -> bool:
        """Whether the file lies in autograded/, where sanitizing put it: what it says of itself is so."""
        course, names = self.parent.coursedir, resources["nbgrader"]
        graded = course.format_path(course.autograded_directory, names["student"], names["assignment"])
        return Path(resources["metadata"]["path"]).absolute() == Path(graded).absolute()


def read(content: bytes) -> NotebookNode:
    """Return the notebook in a file's bytes, rebuilt from what a submission may say.

    Raises NotGraded, with what the file is, and nothing else, where it is no notebook.
    """
    try:
        found, remarks = parsed(content)
        cells = [rebuilt for cell in cells_of(found) if (rebuilt := well_formed(cell, remarks))]
    except (RecursionError, MemoryError):
        raise NotGraded(
            "The file is nested too deeply to be a notebook: save it from JupyterLab again."
        ) from None
    if not cells:
        raise NotGraded("The file is a notebook without cells: save it from JupyterLab again.")
    notebook = new_notebook()
    notebook.cells = cells  # not by new_notebook: two may have the same id as yet
    notebook.metadata[KEY] = {"remarks": list(dict.fromkeys(remarks))}
    return notebook


def parsed(content: bytes) -> tuple[Any, list[str]]:
    """Return the JSON in a file and a list of remarks. Raises NotGraded."""
    if not content.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise NotGraded("The file is empty: save the notebook and hand it in again.")
    if len(content) > MOST_BYTES:
        most = f"{MOST_BYTES // 10**6} MB"
        raise NotGraded(f"The file is larger than {most}: clear its largest outputs and hand it in again.")
    remarks = []
    try:
        text = content.decode(json.detect_encoding(content), "surrogatepass")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
        remarks.append("The file was not saved as UTF-8; letters with accents may be wrong.")
    text = text.lstrip(" \t\r\n")
    try:
        return json.loads(text, parse_int=number, parse_constant=lambda name: None), remarks
    except json.JSONDecodeError as error:
        line = error.lineno
    for beginning, kind in MISTAKEN:
        if re.match(beginning, text):
            raise NotGraded(f"The file is no notebook: it {kind}. Hand in the .ipynb itself.")
    if NOT_TEXT.search(text):
        raise NotGraded("The file is not a notebook but something binary: export it again as .ipynb.")
    if text.startswith("{"):
        raise NotGraded(f"The file's JSON breaks off or is damaged at line {line}: upload it again.")
    raise NotGraded("The file is not a notebook: it holds no JSON. Save it from JupyterLab as .ipynb.")


def number(digits: str) -> int:
    """Return the integer, or 0 for one that no notebook has: Python refuses to read thousands of digits."""
    return int(digits) if len(digits) < 20 else 0


def cells_of(found: Any) -> list[Any]:
    """Return the list of cells in a notebook of any format. Raises NotGraded."""
    sheets = found.get("worksheets", [found]) if isinstance(found, dict) else None  # formats 2 and 3
    lists: Any = [s.get("cells") for s in sheets if isinstance(s, dict)] if isinstance(sheets, list) else []
    lists = [cells for cells in lists if isinstance(cells, list)]
    if not lists:
        raise NotGraded("The file is JSON but no notebook: it has no cells. Save it from JupyterLab again.")
    return sum(lists, [])


def grade_id(cell: NotebookNode) -> str | None:
    """Return the cell's name in nbgrader, or None; metadata may be anything a student left there."""
    nbgrader = cell.metadata.get("nbgrader")
    return nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None


def losses(lesson: Lesson, cells: Iterable[NotebookNode]) -> list[float]:
    """Return the losses that a notebook's outputs tell of, as its lesson reads them."""
    printed = {}
    for cell in cells:
        if (name := grade_id(cell)) and cell.cell_type == "code":
            printed[name] = "".join(o.text for o in cell.outputs if o.output_type == "stream")
    return lesson.curve(printed)[:1000]


class ClearOutput(NbGraderClearOutput):
    """nbgrader's ClearOutput for the cells that are going to be executed."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> Processed:
        """Clear the outputs of the cells that count; the others keep those they were handed in with."""
        self.counting = {id(cell) for cell in counts(nb.cells)}
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, cell_index: int) -> Processed:
        """Clear the outputs of one cell, if it counts."""
        if id(cell) not in self.counting:
            return cell, resources
        return super().preprocess_cell(cell, resources, cell_index)


def well_formed(cell: Any, remarks: list[str]) -> NotebookNode | None:
    """Return the cell rebuilt from the fields that a student may fill, or None."""
    source = text_of(next(filter(None, map(cell.get, SOURCES)), "")) if isinstance(cell, dict) else None
    if source is None:
        return None
    if len(source) > MOST_SOURCE:
        source = source[:MOST_SOURCE]
        remarks.append(f"A cell was cut: it is longer than {MOST_SOURCE:,} characters.")
    cell_id = cell.get("id")
    rebuilt: dict[str, Any] = {
        # Not by new_code_cell: it validates every cell, and the exporter the notebook anyway.
        "id": cell_id if isinstance(cell_id, str) and CELL_ID.fullmatch(cell_id) else random_cell_id(),
        "cell_type": "code" if cell.get("cell_type") == "code" else "markdown",
        "metadata": {},
        "source": source,
    }
    try:
        name = cell["metadata"]["nbgrader"]["grade_id"]
    except (KeyError, TypeError, IndexError):
        name = None
    if isinstance(name, str) and len(name) <= 200:
        rebuilt["metadata"]["nbgrader"] = {"grade_id": SURROGATE.sub("\ufffd", name)}
    if rebuilt["cell_type"] == "code":
        rebuilt["execution_count"] = count_of(cell)
        rebuilt["outputs"] = outputs(cell.get("outputs"))
    elif attached := attachments(cell.get("attachments")):
        rebuilt["attachments"] = attached
    return from_dict(rebuilt)


def text_of(value: object) -> str | None:
    """Return a text, which may be split into lines, without halves of characters; None if it is none."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    return SURROGATE.sub("\ufffd", value) if isinstance(value, str) else None


def attachments(found: Any) -> dict[str, dict[str, str]]:
    """Return the pictures that were pasted into a cell of prose."""
    kept = {}
    for name, bundle in found.items() if isinstance(found, dict) else ():
        pictures = {kind: data for kind, data in bundled(bundle).items() if kind in IMAGES}
        if pictures and len(name) <= 200:
            kept[SURROGATE.sub("\ufffd", name)] = pictures
    return kept


def bundled(bundle: Any) -> dict[str, str]:
    """Return what can be shown of a MIME bundle: {MIME type: text}."""
    kept = {}
    for kind in KEPT if isinstance(bundle, dict) else ():
        data = text_of(bundle.get(kind))
        if data is not None and (kind not in IMAGES or (data := base64_of(data))):
            kept[kind] = data
    return kept


def base64_of(data: str) -> str:
    """Return base64 without its line breaks; "" if it is none, as pages have it in an attribute as it is."""
    data = "".join(data.split())
    try:
        return data if b64decode(data, validate=True) else ""
    except ValueError:
        return ""


def outputs(found: Any) -> list[dict[str, Any]]:
    """Return a cell's outputs, rebuilt; none where they are too large or no outputs at all."""
    kept = [output for raw in found if (output := output_of(raw))] if isinstance(found, list) else []
    return kept if len(json.dumps(kept)) <= MOST_OUTPUT else []


def output_of(raw: Any) -> dict[str, Any] | None:
    """Return one output rebuilt from what can be shown of it, or None."""
    kind = raw.get("output_type") if isinstance(raw, dict) else None
    if kind == "stream":
        text = text_of(raw.get("text"))
        name = "stderr" if raw.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": text} if text else None
    if kind == "error":
        traceback = raw.get("traceback")
        lines = [text_of(line) or "" for line in traceback] if isinstance(traceback, list) else []
        said = {key: text_of(raw.get(key)) or "" for key in ("ename", "evalue")}
        return {"output_type": kind, **said, "traceback": lines}
    if kind in ("display_data", "execute_result") and (data := bundled(raw.get("data"))):
        rebuilt = {"output_type": kind, "data": data, "metadata": described(raw.get("metadata"))}
        return rebuilt | ({"execution_count": count_of(raw)} if kind == "execute_result" else {})
    return None


def described(metadata: Any) -> dict[str, dict[str, Any]]:
    """Return what an output's metadata says of its pictures: {MIME type: alternative text and size}."""
    kept = {}
    for kind in ("image/svg+xml", *IMAGES) if isinstance(metadata, dict) else ():
        said = metadata.get(kind)
        if isinstance(said, dict):
            kept[kind] = {k: said[k] for k in ("width", "height") if is_count(said.get(k), 10_000)}
            if alt := text_of(said.get("alt")):
                kept[kind]["alt"] = alt[:1000]
    return kept


def count_of(raw: dict[str, Any]) -> int | None:
    """Return the number that a code cell or its result had when it ran, or None."""
    count = raw.get("execution_count")
    return count if is_count(count, 2**31) else None


def is_count(value: object, limit: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < limit
