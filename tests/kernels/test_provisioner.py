"""Kernels that start warm behave as if they had been started cold."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
from conftest import gone
from jupyter_client.manager import KernelManager

from autograder.kernels.provisioner import WarmProvisioner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels start as usual")


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
    manager, run = kernel(processes=True)
    assert run("import subprocess; print(subprocess.run(['true']).returncode)") == "0"
    assert run("import os; print(os.read(0, 1))") == "b''"
    manager.interrupt_kernel()
    assert run("print('still here')") == "still here"


def test_a_killed_kernel_is_noticed_and_takes_its_children_along(kernel):
    manager, run = kernel(processes=True)
    child = int(run("import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"))
    manager.shutdown_kernel(now=True)
    assert gone(manager)
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"
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
