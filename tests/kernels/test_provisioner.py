"""Kernels that start warm behave as if they had been started cold."""

import multiprocessing
import os
import signal
import sys
import time

import psutil
import pytest
from conftest import gone
from jupyter_client.manager import KernelManager

from autograder.kernels.provisioner import ForkServer, SetupFailed, Template, WarmProvisioner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels start as usual")


def test_libraries_are_there_before_the_first_line(kernel):
    _, run = kernel()
    assert run("import sys; print({'torch', 'datasets', 'transformers', 'autograder.tinybert.checks'} <= set(sys.modules))") == "True"


def test_environment_and_folder_are_the_requests(kernel, tmp_path):
    _, run = kernel(env={"LESSON_TEST": "yes"}, cwd=str(tmp_path))
    assert run("import os; print(os.environ.get('LESSON_TEST'), os.getcwd())") == f"yes {tmp_path}"
    _, run = kernel()
    assert run("import os; print(os.environ.get('LESSON_TEST'))") == "None"


def test_random_numbers_differ_between_kernels(kernel):
    draw = "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1).item())"
    first, second = (kernel()[1](draw).split() for _ in range(2))
    assert len({*first, *second}) == 6


def test_what_one_kernel_changes_the_next_does_not_see(kernel):
    _, run = kernel()
    run("import torch; torch.optim.AdamW = None; torch.set_num_threads(1)")
    _, run = kernel()
    assert run("import torch; print(torch.optim.AdamW is None)") == "False"


def test_training_and_figures_work_in_a_fork(kernel):
    _, run = kernel()
    assert run("import torch\nx = torch.randn(300, 300, requires_grad=True)\n(x @ x).sum().backward()\nprint(x.grad is None)") == "False"
    assert run("import matplotlib.pyplot as plt; print(plt.get_backend())").endswith("inline")


def test_subprocesses_and_interrupts_work(kernel):
    manager, run = kernel(processes=True)
    assert run("import subprocess; print(subprocess.run(['true']).returncode)") == "0"
    assert run("import os; print(os.read(0, 1))") == "b''"
    manager.interrupt_kernel()
    assert run("print('still here')") == "still here"


def test_a_killed_kernel_is_noticed_and_takes_its_children_along(kernel):
    manager, run = kernel(processes=True)
    run("import subprocess; subprocess.Popen(['sleep', '600'])")
    (child,) = psutil.Process(manager.provisioner.pid).children()
    manager.shutdown_kernel(now=True)
    assert gone(manager)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    manager, run = kernel()
    os.kill(manager.provisioner.pid, signal.SIGKILL)
    assert gone(manager)


def test_a_dead_server_is_replaced_and_takes_its_kernels_along(kernel):
    manager, _ = kernel()
    server = WarmProvisioner.server.process
    server.kill()
    server.wait()
    assert gone(manager)
    _, run = kernel()
    assert run("print(1)") == "1"
    assert WarmProvisioner.server.process is not server


def test_other_kernels_start_as_usual():
    manager = KernelManager()
    manager.kernel_spec.argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "warm"}
    manager.start_kernel()
    assert isinstance(manager.provisioner.process.args, list)
    manager.shutdown_kernel(now=True)


def in_child(kernel_spec_metadata, queue):
    manager = KernelManager()
    manager.kernel_spec.metadata.update(kernel_spec_metadata)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    queue.put("ready")


def test_a_forked_client_has_a_connection_of_its_own(kernel):
    manager, run = kernel()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(dict(manager.kernel_spec.metadata), queue))
    child.start()
    try:
        assert queue.get(timeout=90) == "ready"
    finally:
        child.kill()
    assert run("print(1)") == "1"


# --- Kernels forked behind a set-up

CELLS = [
    ["first", "import os, random, torch\nos.environ['LESSON_X'] = 'set'\nrandom.seed(8); torch.manual_seed(8)\nprint('shown')"],
    ["second", "def double(x):\n    return 2 * x\nclass Mine: pass\nnumber = double(21)\nnumber"],
]


def test_a_kernel_behind_a_set_up_has_what_its_cells_left(kernel):
    manager, run = kernel(setup=CELLS, env={"LESSON_Y": "mine"})
    assert [[kind for kind, _ in shown] for shown in manager.provisioner.shown] == [["stream"], ["execute_result"]]
    behind = run("print(number, os.environ['LESSON_X'], os.environ['LESSON_Y'], random.random(), torch.rand(1).item(), Out, len(In))")
    cold, run_cold = kernel(env={"LESSON_Y": "mine"})
    for _, source in CELLS:
        run_cold(source)
    assert cold.provisioner.shown == ()
    assert behind == run_cold("print(number, os.environ['LESSON_X'], os.environ['LESSON_Y'], random.random(), torch.rand(1).item(), Out, len(In))")
    for code in ("import pickle, inspect; print(pickle.dumps(Mine()), inspect.getsource(double))", "print(double.__globals__ is globals())"):
        assert run(code) == run_cold(code) != ""


def parent_of(manager):
    """The process that a kernel was forked from; one of ours stands between, where it is in namespaces."""
    parent = psutil.Process(manager.provisioner.pid).parent()
    return (parent.parent() if manager.provisioner.forked.namespaces else parent).pid


def test_kernels_behind_one_set_up_do_not_see_each_other(kernel):
    first, run = kernel(setup=CELLS)
    run("number = 1; double = None")
    second, run = kernel(setup=CELLS)
    assert run("print(double(number))") == "84"
    assert parent_of(second) == parent_of(first)


@pytest.mark.parametrize(
    "source",
    [
        "%matplotlib inline",
        "!true",
        "import asyncio; await asyncio.sleep(0)",
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "import torch; torch.set_num_threads(2)",
        "open('left', 'w').write('x')",
        "import os; os.chdir('/')",
        "file = open('/proc/self/status')",
        "import os; here = os.path.abspath('data.csv')",
        "import pathlib; own = pathlib.Path.home() / 'cache'",
    ],
)
def test_what_a_fork_would_lose_is_run_in_each_kernel(kernel, source):
    manager, run = kernel(setup=[["cell", source]])
    assert manager.provisioner.shown == () and run("print(1)") == "1"


def test_a_set_up_that_fails_names_its_cell(kernel):
    with pytest.raises(SetupFailed, match="`second` failed: KeyError: 'x'"):
        kernel(setup=[CELLS[0], ["second", "{}['x']"]])
    _, run = kernel(setup=CELLS)  # and stops nobody else
    assert run("print(number)") == "42"


def test_a_dead_template_is_replaced_and_takes_its_kernels_along(kernel):
    manager, run = kernel(setup=CELLS)
    template = parent_of(manager)
    os.kill(template, signal.SIGKILL)
    assert gone(manager) and manager.provisioner.lost()
    manager, run = kernel(setup=CELLS)
    assert run("print(number)") == "42" and parent_of(manager) != template
    server = WarmProvisioner.server.process
    server.kill()
    server.wait()
    for _ in range(50):
        if not any(other.alive() for other in WarmProvisioner.server.templates.values()):
            return
        time.sleep(0.1)
    pytest.fail("a template outlived its server")


def test_a_template_that_dies_in_between_costs_only_its_head_start(kernel, monkeypatch):
    first, _ = kernel(setup=CELLS)
    fork = ForkServer.fork

    def late(server, request):
        if isinstance(server, Template):
            os.kill(parent_of(first), signal.SIGKILL)
        return fork(server, request)

    monkeypatch.setattr(ForkServer, "fork", late)
    manager, run = kernel(setup=CELLS)
    assert manager.provisioner.shown == () and run("print(1)") == "1"
