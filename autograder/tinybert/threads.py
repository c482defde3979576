"""How many threads torch works with: as many as help on this machine, now."""

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

TRYING = 1.0  # seconds
GAIN = 1.1  # more threads have to be faster by this factor: fewer leave the machine to others
BATCH = (16, 28)  # reviews, tokens: a batch of the lesson


def use_threads() -> str:
    """Set torch to the number of threads that is fastest now; return a sentence that says so.

    It takes about a second, a few on a very busy machine. nbgrader gets one thread, without trying.
    """
    import torch

    if "NBGRADER_EXECUTION" in os.environ:
        torch.set_num_threads(1)
        return "torch computes on 1 processor, as nbgrader runs this notebook."
    allowed = allowed_threads()
    with torch.random.fork_rng(devices=[]):
        best, gain = fastest(allowed, timer()) if allowed > 1 else (1, 1.0)
    torch.set_num_threads(best)
    if allowed == 1:
        return "torch computes on 1 processor: this notebook may use no more."
    if best == 1:
        return f"torch computes on 1 of {allowed} processors: with more it was not faster just now."
    return f"torch computes on {best} of {allowed} processors: {gain:.1f} times as fast as on one."


def allowed_threads(root: Path = Path("/")) -> int:
    """Return how many threads can run at once: by the processors this process may use, by the quota of its
    container, and by OMP_NUM_THREADS where somebody has set that. root: of the file system.
    """
    if hasattr(os, "sched_getaffinity"):  # Linux
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limits = [processors, *quotas(root), *([int(wanted)] if wanted.isdecimal() else [])]
    return max(1, math.ceil(min(limits)))


def quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in processors, of the control groups (version 1 or 2) that this process is in."""
    for line in _words(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        # Every group above counts. In a container the path may be the host's: then only the top is there.
        parts = path.strip("/").split("/")
        for depth in range(len(parts) + 1):
            folder = top.joinpath(*parts[:depth])
            limit = _words(folder / "cpu.max")  # version 2: microseconds of work, in how many
            limit = limit or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
            if len(limit) == 2 and limit[0] not in ("max", "-1"):
                yield int(limit[0]) / int(limit[1])


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # not Linux, or not this version
        return []


def fastest(allowed: int, seconds: Callable[[int], float]) -> tuple[int, float]:
    """Return the number of threads up to `allowed` that is fastest, and how many times as fast as one it is.

    seconds(threads) works for a moment and returns what it took. The number is doubled as long as that
    helps: far too many threads can take a hundred times as long, and so are not tried.
    """
    best, gain = 1, 1.0
    numbers = [2**k for k in range(1, allowed.bit_length()) if 2**k < allowed] + [allowed]
    seconds(1)  # the first time of all takes longer
    for more in numbers:
        few: list[float] = []
        many: list[float] = []
        while sum(few + many) < TRYING / len(numbers):
            few.append(seconds(best))  # in turns, so that both meet the same neighbours
            many.append(seconds(more))
        ratio = median(few) / median(many)
        if ratio < GAIN:
            break
        best, gain = more, gain * ratio
    return best, gain


def timer() -> Callable[[int], float]:
    """Return seconds(threads), which times one step on a layer of TinyBERT's shape, forward and backward."""
    import torch

    # One layer of four, as too many threads on a busy machine take seconds even for this.
    layer = torch.nn.TransformerEncoderLayer(312, 12, 1200, activation="gelu", batch_first=True)
    batch = torch.randn(*BATCH, 312)

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        start = time.perf_counter()
        layer(batch).square().mean().backward()
        return time.perf_counter() - start

    return seconds
