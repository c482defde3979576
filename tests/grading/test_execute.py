"""Executing a submission: what counts for it, what is not its doing, and what of its output is kept."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell

from autograder.evidence import MIME_TYPE
from autograder.grading.answers import fill, parse
from autograder.grading.execute import Execute
from autograder.grading.faults import InstallationFault
from autograder.grading.read import grade_id
from autograder.grading.score import ScoreCells
from autograder.grading.setup import digest, setup
from autograder.kernels import sandbox

needs_sandbox = pytest.mark.skipif(sandbox.missing() is not None, reason=str(sandbox.missing()))
EXTRA_ARGUMENTS = ["--log-level=ERROR", "--HistoryManager.enabled=False"]
RIGHT = parse((ROOT / "data" / "sample_class" / "right-first-time.md").read_text())["todo1_optimizer"]


@pytest.fixture
def execute(tmp_path, solution, monkeypatch):
    """Return execute(answer, **traits): the notebook, executed, and the Execute that did it.

    answer: {grade id: source}. prepared: whether it starts behind the set-up. edit: changes its cells.
    """
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(answer=(), prepared=True, edit=None, **traits):
        notebook = fill(solution, dict(answer))
        if prepared is True:
            prepared = digest(notebook, {})
        if edit:
            edit(notebook.cells)
        preprocessor = Execute(
            secret="the same probes", extra_arguments=EXTRA_ARGUMENTS, prepared=prepared or "", **traits
        )
        return preprocessor.preprocess(notebook, {"metadata": {"path": str(tmp_path)}})[0], preprocessor

    return run


def cell_of(notebook, name):
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def printed(cell):
    return "".join(o.get("text", "") for o in cell.outputs)


def verdicts(executed):
    """Return what every test cell shows once it is scored."""
    notebook, preprocessor = executed
    scored = ScoreCells().preprocess(copy.deepcopy(notebook), preprocessor.resources)[0]
    tests = [c for c in scored.cells if c.cell_type == "code" and c.metadata.get("nbgrader", {}).get("grade")]
    shown = [c.outputs[0].get("data", c.outputs[0]) for c in tests]
    return [{kind: said for kind, said in data.items() if kind != MIME_TYPE} for data in shown]


LOOK = """
import random
state = torch.get_rng_state().sum(), torch.rand(3), len(In), get_ipython().execution_count, __name__
print(state, {name: value.sum().item() for name, value in model.named_parameters()})
"""


@needs_sandbox
@pytest.mark.parametrize("student", ["right-first-time", "forgot-zero-grad", "everything-in-optimizer"])
def test_behind_the_set_up_everything_is_as_it_was(execute, solution, student):
    answer = parse((ROOT / "data" / "sample_class" / f"{student}.md").read_text())

    def look(cells):
        place = next(n for n, c in enumerate(cells) if c.metadata.get("nbgrader", {}).get("grade_id") == "todo1_optimizer")
        cells.insert(place, new_code_cell(LOOK))

    found = []
    for prepared in (True, False):
        notebook, preprocessor = execute(answer, prepared, look)
        assert bool(preprocessor.manager.provisioner.shown) == prepared
        code = [c for c in notebook.cells if c.cell_type == "code" and c.source != LOOK]
        look_at = printed(next(c for c in notebook.cells if c.source == LOOK))
        assert "__main__" in look_at
        shown = [[printed(c), c.execution_count] for c in code]
        found.append((look_at, shown, verdicts((notebook, preprocessor))))
    assert found[0] == found[1]


def before_setup(cells):
    cells.insert(0, new_code_cell("mine = 1"))


@needs_sandbox
def test_what_the_student_could_have_influenced_starts_cold(execute, tmp_path):
    shown = lambda preprocessor: preprocessor.manager.provisioner.shown  # noqa: E731
    assert not shown(execute(edit=before_setup)[1])
    assert shown(execute(edit=lambda cells: cells.insert(0, new_code_cell("  \n")))[1])
    (tmp_path / "timestamp.txt").write_text("2026-01-01")
    assert shown(execute()[1])
    (tmp_path / "csv.py").write_text("raise SystemExit")
    notebook, preprocessor = execute()
    assert not shown(preprocessor)


FAILING = {
    "open('no such file')": "FileNotFoundError: [Errno 2] No such file",
    "import os; os._exit(1)": "ended",
    "import time; time.sleep(600)": "",
    "while True: pass": "",
}


@needs_sandbox
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("source", FAILING)
def test_a_set_up_that_fails_is_nobodys_grade(execute, solution, monkeypatch, source, prepared):
    def spoil(cells):
        next(c for c in cells if c.metadata.get("nbgrader", {}).get("grade_id") == "data").source = source

    spoiled = copy.deepcopy(solution)
    spoil(spoiled.cells)
    begun = time.monotonic()
    with pytest.raises(InstallationFault, match="^`data` failed before any of the student's code ran: ") as fault:
        execute(prepared=prepared and digest(spoiled, {}), edit=spoil, timeout=1)
    assert FAILING[source] in str(fault.value)
    assert time.monotonic() - begun < 300  # not the sleep's 600 s


HELPER = """
def train_tinybert(model, train_loader, optimizer, num_epochs=10):
    return [0.5] * num_epochs
"""


@needs_sandbox
@pytest.mark.parametrize("written", ["handed in", "by a cell"])
def test_a_module_of_the_students_own_is_found_and_shadows_nothing(execute, tmp_path, written):
    answer = "import my_helpers, torch\nfrom my_helpers import train_tinybert\nprint(torch.__file__, my_helpers.__file__)"
    for name in ("torch", "my_helpers") if written == "handed in" else ():
        (tmp_path / f"{name}.py").write_text(HELPER)
    extra = new_code_cell(f"%%writefile my_helpers.py{HELPER}")

    def write(cells):
        names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in cells]
        if written == "by a cell":
            cells.insert(names.index("todo1_optimizer"), extra)

    notebook, _ = execute({"todo2_train_tinybert": answer}, edit=write)
    said = printed(cell_of(notebook, "todo2_train_tinybert"))
    assert "site-packages/torch" in said and said.rstrip().endswith("my_helpers.py"), cell_of(
        notebook, "todo2_train_tinybert"
    ).outputs


def test_the_same_error_in_the_students_cell_is_the_students(execute):
    notebook, _ = execute({"todo1_optimizer": "open('no such file')"})
    assert cell_of(notebook, "todo1_optimizer").outputs[0].ename == "FileNotFoundError"


def test_no_execute_is_refused(solution):
    with pytest.raises(InstallationFault, match="--no-execute"):
        Execute(enabled=False)(solution, {})


def test_whether_it_was_locked_in_is_noted(execute):
    assert execute()[0].metadata.autograder["sandbox"] is (sandbox.missing() is None)
    assert execute(provisioner_name="local-provisioner")[0].metadata.autograder["sandbox"] is False


# --- Time

ENDLESS = {"while True: pass": 2, "import time\nwhile True: time.sleep(1)": 2, "try:\n    while True: pass\nexcept BaseException:\n    while True: pass": 2}


@needs_sandbox
@pytest.mark.parametrize("loop", ENDLESS)
def test_an_endless_loop_or_sleep_ends(execute, loop):
    notebook, _ = execute({"todo1_optimizer": loop}, timeout=2, notebook_timeout=15)
    assert "Time ran out in `todo1_optimizer`." in notebook.metadata.autograder["limits"]


@needs_sandbox
def test_waiting_for_a_processor_costs_nothing(execute):
    work = "import time\nbegun = time.process_time()\nwhile time.process_time() < begun + 1.5: pass"
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    try:
        begun = time.monotonic()
        notebook, _ = execute({"todo1_optimizer": f"{RIGHT}\n{work}"}, timeout=2.5)
        assert time.monotonic() - begun > 3, "the machine was not busy"
    finally:
        for process in busy:
            process.kill()
    assert notebook.metadata.autograder["limits"] == []


@needs_sandbox
def test_a_kernel_that_is_always_killed_from_outside_keeps_what_it_earned(execute, monkeypatch):
    """As where there is no memory for the long run: killed for real, each time a cell after the second check runs."""
    attempts, run_cell = [], Execute.preprocess_cell

    def kill(self, cell, resources, index):
        if grade_id(cell) == "todo2_train_tinybert":
            attempts.append(self.manager.provisioner.pid)
            os.kill(attempts[-1], signal.SIGKILL)
        return run_cell(self, cell, resources, index)

    monkeypatch.setattr(Execute, "preprocess_cell", kill)
    notebook, resources = execute({"todo1_optimizer": RIGHT}, attempts=2)
    assert len(attempts) == 2
    shown = verdicts((notebook, resources))
    assert ["3 of 3" in str(shown[0]), "2 of 2" in str(shown[1])] == [True, True] and "NotRun" in str(shown[2])
    notes = notebook.metadata.autograder
    assert "killed from outside 2 times" in notes["remarks"][0] and notes["key"] == ""


# --- Outputs

SHOUTS = {
    "displays": "for k in range(40): display({'text/plain': 'x' * 10_000_000, 'application/x': 'y' * 10_000_000}, raw=True)",
    "types that nobody shows": "for k in range(40): display({'text/plain': 'x', 'application/x': 'y' * 10_000_000}, raw=True)",
    "updates": "h = display('x', display_id=True)\nfor k in range(40): h.update({'text/plain': 'x' * 10_000_000}, raw=True)",
    "output widgets": "import ipywidgets\nwith ipywidgets.Output():\n    for k in range(400): print('x' * 100_000)",
    "errors": "ip = get_ipython()\nfor k in range(400):\n    try: raise ValueError('x' * 1_000_000)\n    except ValueError: ip.showtraceback()",
    "the last error": "raise ValueError('x' * 50_000_000)",
    "many": "for k in range(20_000): display(k)",
    "lines": "for k in range(40): print('x' * 100_000)",
    "evidence": f"for k in range(40): display({{{MIME_TYPE!r}: 'x' * 10_000_000}}, raw=True)",
    "metadata": "for k in range(40): display({'text/plain': 'x'}, raw=True, metadata={'x': 'y' * 10_000_000})",
}


@needs_sandbox
@pytest.mark.parametrize("shout", SHOUTS)
def test_a_notebook_stays_small_whatever_is_shown(execute, solution, shout):
    executed = notebook, _ = execute({"todo1_optimizer": f"{RIGHT}\n{SHOUTS[shout]}"})
    assert len(nbformat.writes(notebook)) < 6_000_000
    nbformat.validate(notebook)
    assert verdicts(executed) == verdicts(execute({"todo1_optimizer": RIGHT}))


@needs_sandbox
def test_evidence_arrives_though_its_cell_shouts(execute, solution):
    noise = "class Loud(torch.optim.AdamW):\n    def __deepcopy__(self, memo):\n        print('x' * 10_000_000)\n        display({'text/plain': 'x' * 10_000_000}, raw=True)\n        return torch.optim.AdamW(self.param_groups)\n"
    quiet = noise.partition("        print")[0] + "        return torch.optim.AdamW(self.param_groups)\n"
    found = []
    for source in (noise, quiet):
        answer = source + "optimizer = Loud([p for p in model.parameters() if p.requires_grad], lr=2.5e-3, weight_decay=0.01)"
        notebook, _ = execute({"todo1_optimizer": answer})
        shown = cell_of(notebook, "test_parameter_groups").outputs
        found.append([o.data[MIME_TYPE] for o in shown if MIME_TYPE in o.get("data", {})])
    assert len(found[0]) == 1 and found[0] == found[1]


SEND = """
import random
draw = random.Random(8)
kernel = get_ipython().kernel
kinds = ("execute_result", "display_data", "stream", "status", "error", "clear_output", "update_display_data",
         "comm_open", "comm_msg", "comm_close", "execute_input", "execute_reply", "shutdown_reply", "x", "")
names = ("data", "metadata", "transient", "execution_state", "name", "text", "ename", "evalue", "traceback", "wait",
         "comm_id", "target_name", "status", "payload", "execution_count", "state", "buffer_paths")
def thing(depth=0):
    return draw.choice([None, 1, -1.5, True, "x", "stdout", "text/plain", "\\ud800", "jupyter.widget", "display_id", [], {}, [1], ["x"],
                        {"x": "y"}, {"text/plain": 3}, {"display_id": []}, {"display_id": "a"}, {"state": {}},
                        {"state": {"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel"}}])
for number in range(1500):
    kind = kinds[number % len(kinds)]
    content = {name: thing() for name in names if draw.random() < 0.7}
    if content.get("execution_state") == "idle" or kind == "execute_reply" and draw.random() < 0.9:
        continue
    parent = draw.choice([kernel.get_parent("shell"), kernel.get_parent("shell"), {}])
    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent)
for frames in ([], [b""], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"], [b"x"] * 9):
    kernel.iopub_socket.send_multipart(frames or [b""])
for part in (b"[]", b"3", b"null", b"{}", b'"x"', b"\\xff", b'{"msg_id": 1, "msg_type": [], "date": 4}'):
    for place in range(4):
        parts = [kernel.session.pack(p) for p in (kernel.session.msg_header("status"), kernel.get_parent("shell")["header"], {}, {})]
        parts[place] = part
        kernel.iopub_socket.send_multipart([b"<IDS|MSG>", kernel.session.sign(parts), *parts])
"""


@needs_sandbox
def test_messages_that_are_none_are_passed_over(execute, solution):
    executed = notebook, _ = execute({"todo1_optimizer": f"{RIGHT}\n{SEND}"})
    nbformat.validate(notebook)
    nbformat.writes(notebook).encode()
    assert notebook.metadata.autograder["limits"] == []
    assert verdicts(executed) == verdicts(execute({"todo1_optimizer": RIGHT}))


HALVES = {
    "printed": "print('\\ud800 half')",
    "shown": "display({'text/plain': '\\udfff half'}, raw=True)",
    "raised": f"{RIGHT}\nraise ValueError('\\ud800 half')",
    "escaped": "get_ipython().kernel.session.pack = lambda x: __import__('json').dumps(x, default=str).encode()\nprint('\\ud800')",
}


@needs_sandbox
@pytest.mark.parametrize("half", HALVES)
def test_half_a_character_is_graded_as_any_other(execute, solution, half):
    executed = notebook, _ = execute({"todo1_optimizer": f"{RIGHT}\n{HALVES[half]}"})
    nbformat.writes(notebook).encode()
    assert notebook.metadata.autograder["limits"] == []
    shown = str(cell_of(notebook, "todo1_optimizer").outputs)
    assert "?" in shown
    assert verdicts(executed) == verdicts(execute({"todo1_optimizer": RIGHT}))


# --- What is left behind

KILLED = """
import os, signal, sys
from autograder.kernels.provisioner import WarmProvisioner
from jupyter_client.manager import KernelManager
manager = KernelManager()
manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "warm", "config": {"temporary": True}}
manager.start_kernel(cwd=sys.argv[1])
print(manager.provisioner.scratch, WarmProvisioner.server.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_sandbox
def test_a_killed_grader_leaves_no_folders(tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True)
    places = [folder, *map(Path, done.stdout.split())]
    assert len(places) == 3
    for _ in range(100):
        if not any(place.exists() for place in places):
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {[place for place in places if place.exists()]}")


def test_the_set_up_ends_where_a_student_may_write(solution):
    assert [c.metadata.nbgrader.grade_id for c in setup(solution.cells)] == ["imports", "data", "model"]
