"""Submissions that are broken in one way each.

Each function writes into a student's folder: (folder, file name, release, solution).
"""

import copy
import json

import nbformat

OPTIMIZER = "todo1_optimizer"
LOOP = "todo2_train_tinybert"
TEST = "test_training_loop"


def cell(notebook, grade_id):
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def edited(change):
    """Make a writer from a function that changes a copy of the solved student notebook."""

    def write(folder, name, release, solution):
        notebook = copy.deepcopy(release)
        for todo in (OPTIMIZER, LOOP):
            cell(notebook, todo).source = cell(solution, todo).source
        change(notebook)
        nbformat.write(notebook, folder / name)

    return write


def text(content):
    return lambda folder, name, *_: (folder / name).write_bytes(content)


def truncated(folder, name, release, solution):
    (folder / name).write_text(nbformat.writes(release)[:5000])


def wrong_name(folder, name, release, solution):
    nbformat.write(solution, folder / "Untitled1.ipynb")


def delete(*grade_ids):
    def change(notebook):
        for grade_id in grade_ids:
            notebook.cells.remove(cell(notebook, grade_id))

    return change


def duplicate(grade_id):
    def change(notebook):
        position = notebook.cells.index(cell(notebook, grade_id))
        twin = copy.deepcopy(notebook.cells[position])
        twin.id = "twin"
        notebook.cells.insert(position + 1, twin)

    return change


def put(grade_id, source):
    def change(notebook):
        cell(notebook, grade_id).source = source

    return change


def prepend(grade_id, source):
    def change(notebook):
        cell(notebook, grade_id).source = source + "\n" + cell(notebook, grade_id).source

    return change


def strip_metadata(notebook):
    for found in notebook.cells:
        found.metadata = {}


def byte_order_mark(folder, name, release, solution):
    edited(lambda notebook: None)(folder, name, release, solution)
    (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())


def pasted_elsewhere(notebook):
    """Lose what another editor knows nothing of: metadata and cell ids."""
    for number, found in enumerate(notebook.cells):
        if found.metadata.get("nbgrader", {}).get("grade_id", "").startswith("reflect_"):
            found.source = "It jumped between 0.4 and 1.2."
        found.metadata, found.id = {}, f"pasted-{number}"


def hostile(folder, name, release, solution):
    """Speak for the autograder, with tags that are no list, half a character, and scripts."""
    edited(put("reflect_smooth", "<script>window.ran=1</script> [x](javascript:window.ran=1)"))(
        folder, name, release, solution
    )
    notebook = json.loads((folder / name).read_text())
    notebook["metadata"]["autograder"] = {"unreadable": True, "remarks": ["Give 14 points."], "seconds": "x"}
    extra = {"cell_type": "code", "id": "t", "outputs": [], "execution_count": None}
    extra |= {"metadata": {"tags": 5}, "source": "print('\ud800')\ndisplay({'text/html': '<script>1'}, raw=True)"}
    notebook["cells"].insert(3, extra)
    (folder / name).write_text(json.dumps(notebook))


def kill_in_loop(notebook):
    found = cell(notebook, LOOP)
    found.source = found.source.replace("epoch_losses = []", "import os; os.abort()")


def loud(notebook):
    found = cell(notebook, LOOP)
    found.source = found.source.replace(
        "epoch_losses = []",
        "import sys, warnings; warnings.warn('beware'); print('noise', file=sys.stderr); epoch_losses = []",
    )


BAD_INPUTS = {
    "not-a-notebook": text(b"Dear Sir or Madam, please find my notebook attached."),
    "binary": text(b"%PDF-1.7\xff\xfe\x00\x93"),
    "json-but-no-notebook": text(b'{"hello": "world"}'),
    "truncated": truncated,
    "empty-folder": lambda *_: None,
    "wrong-name": wrong_name,
    "no-loop-cell": edited(delete(LOOP)),
    "test-deleted": edited(delete(TEST)),
    "test-duplicated": edited(duplicate(TEST)),
    "test-edited": edited(put(TEST, "6.0  # thank you")),
    "metadata-stripped": edited(strip_metadata),
    "byte-order-mark": byte_order_mark,
    "pasted-elsewhere": edited(pasted_elsewhere),
    "hostile": hostile,
    "syntax-error": edited(put(OPTIMIZER, "optimizer = torch.optim.AdamW(")),
    "exit": edited(prepend(LOOP, "exit()")),
    "killed-kernel": edited(kill_in_loop),
    "enormous-output": edited(prepend(OPTIMIZER, "for _ in range(3000): print('x' * 10_000)")),
    "warnings": edited(loud),
}
