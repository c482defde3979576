"""How many threads the lesson computes with: what it may use, and what helps."""

import pytest
import torch

from autograder.tinybert import threads


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of eight processors, on which no setting has limited anything; its torch is given back as it was."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    yield monkeypatch
    torch.set_num_threads(before)


def takes(seconds):
    """A timer that says what this many threads take; others are not to be tried."""
    return lambda: lambda number: seconds[number]


def control_group(root, line, files):
    """Write what Linux shows of a control group: /proc/self/cgroup, and {file under /sys/fs/cgroup: text}."""
    for name, text in {"proc/self/cgroup": line, **{f"sys/fs/cgroup/{f}": t for f, t in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


V1, HOST = "9:memory:/a\n4:cpu,cpuacct:/docker/b\n1:name=systemd:/", "0::/kubepods/pod/c"
V1_QUOTA, V1_PERIOD = "cpu/docker/b/cpu.cfs_quota_us", "cpu/docker/b/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("line", "files", "allowed"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "9900000 100000"}, 8),
        ("0::/", {}, 8),
        (HOST, {"cpu.max": "300000 100000"}, 3),
        (HOST, {"kubepods/pod/c/cpu.max": "max 100000", "kubepods/pod/cpu.max": "400000 100000"}, 4),
        (V1, {V1_QUOTA: "200000", V1_PERIOD: "100000"}, 2),
        (V1, {V1_QUOTA: "-1", V1_PERIOD: "100000"}, 8),
        (V1, {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
    ],
)
def test_a_container_s_quota_limits_the_threads(tmp_path, line, files, allowed):
    control_group(tmp_path, line, files)
    assert threads.allowed_threads(tmp_path) == allowed


def test_without_control_groups_and_affinity_all_processors_count(machine, tmp_path):
    machine.delattr("os.sched_getaffinity", raising=False)
    machine.setattr("os.cpu_count", lambda: 4)
    assert threads.allowed_threads(tmp_path) == 4


@pytest.mark.parametrize(("setting", "allowed"), [("2", 2), ("3,1", 3), ("64", 8), ("", 8)])
def test_omp_num_threads_is_a_limit(machine, tmp_path, setting, allowed):
    machine.setenv("OMP_NUM_THREADS", setting)
    assert threads.allowed_threads(tmp_path) == allowed


@pytest.mark.parametrize(
    ("allowed", "seconds", "number", "sentence"),
    [
        (1, {}, 1, "torch computes on 1 processor: this notebook may use no more."),
        (2, {1: 0.08, 2: 0.05}, 2, "torch computes on 2 of 2 processors: 1.6 times as fast as on one."),
        (2, {1: 0.1, 2: 0.6}, 1, "torch computes on 1 of 2 processors: with more it was not faster just now."),
        (2, {1: 0.1, 2: 0.095}, 1, "torch computes on 1 of 2 processors: with more it was not faster just now."),
        (6, {1: 0.12, 2: 0.06, 4: 0.04, 6: 0.03}, 6, "torch computes on 6 of 6 processors: 4.0 times as fast as on one."),
        # 16 help no more: 32 and 64, which could take a minute, are not tried.
        (64, {1: 0.12, 2: 0.06, 4: 0.04, 8: 0.03, 16: 0.05}, 8, "torch computes on 8 of 64 processors: 4.0 times as fast as on one."),
    ],
)
def test_as_many_threads_as_help(machine, allowed, seconds, number, sentence):
    machine.setattr(threads, "allowed_threads", lambda: allowed)
    machine.setattr(threads, "timer", takes(seconds))
    assert threads.use_threads() == sentence
    assert torch.get_num_threads() == number


@pytest.mark.parametrize("run", ["autograde", "validate"])
def test_nbgrader_gets_one_thread_without_trying(machine, run):
    machine.setenv("NBGRADER_EXECUTION", run)
    machine.setattr(threads, "timer", takes({}))
    assert threads.use_threads() == "torch computes on 1 processor, as nbgrader runs this notebook."
    assert torch.get_num_threads() == 1


def test_trying_leaves_the_random_numbers_alone(machine):
    machine.setattr(threads, "allowed_threads", lambda: 2)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert threads.use_threads().startswith(("torch computes on 1 of 2 ", "torch computes on 2 of 2 "))
    assert torch.equal(torch.get_rng_state(), before)
