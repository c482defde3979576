"""Kernels that start warm behave as if they had been started cold."""

import os
import signal
import sys
import time

import pytest
from jupyter_client.manager import KernelManager

from autograder.kernels.provisioner import WarmProvisioner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels start as usual")


@pytest.fixture
def kernel():
    """Start kernels with kernel(**how); each is (manager, run), and run(code) is what it printed."""
    started = []

    def start(**how):
        manager = KernelManager()
        manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "warm"}
        manager.start_kernel(env=dict(os.environ, **how.pop("env", {})), **how)
        client = manager.client()
        client.start_channels()
        started.append((manager, client))
        client.wait_for_ready(timeout=60)

        def run(code):
            printed = []
            client.execute_interactive(
                code, timeout=60, output_hook=lambda m: printed.append(m["content"].get("text", ""))
            )
            return "".join(printed).strip()

        return manager, run

    yield start
    for manager, client in started:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def gone(manager):
    """Wait for a kernel's end."""
    for _ in range(100):
        if not manager.is_alive():
            return True
        time.sleep(0.1)
    return False


def test_libraries_are_there_before_the_first_line(kernel):
    _, run = kernel()
    assert run("import sys; print({'torch', 'datasets', 'transformers', 'autograder.checks'} <= set(sys.modules))") == "True"


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
    manager, run = kernel()
    assert run("import subprocess; print(subprocess.run(['true']).returncode)") == "0"
    assert run("import os; print(os.read(0, 1))") == "b''"
    manager.interrupt_kernel()
    assert run("print('still here')") == "still here"


def test_a_killed_kernel_is_noticed_and_takes_its_children_along(kernel):
    manager, run = kernel()
    child = int(run("import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"))
    manager.shutdown_kernel(now=True)
    assert gone(manager)
    with open(f"/proc/{child}/stat") if os.path.exists(f"/proc/{child}") else open(os.devnull) as stat:
        assert stat.read().split()[2:3] in ([], ["Z"])
    manager, run = kernel()
    os.kill(int(run("import os; print(os.getpid())")), signal.SIGKILL)
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


def test_other_kernels_start_as_usual(kernel, tmp_path, monkeypatch):
    manager = KernelManager()
    manager.kernel_spec.argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "warm"}
    manager.start_kernel()
    assert isinstance(manager.provisioner.process.args, list)
    manager.shutdown_kernel(now=True)
