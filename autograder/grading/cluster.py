"""Run a function on many jobs at once, on a Dask cluster of this machine or of many."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TypeVar

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed
from distributed.utils import get_mp_context

from .faults import InstallationFault

J = TypeVar("J")  # a job
R = TypeVar("R")  # its result

REACHED_IN = 6  # seconds; who waits longer has the wrong address
AHEAD = 4  # jobs that the cluster knows of for each of its threads, so that none waits for work

SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,  # a job that ends its worker is tried once more
    "distributed.scheduler.worker-saturation": 1.0,  # a worker has one job, so it is that one's fault
    "distributed.worker.multiprocessing-method": "forkserver",  # workers import together, once
    "distributed.worker.profile.enabled": False,  # a look at the stack a hundred times a second
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.low-level-log-length": 10,  # messages, whole submissions among them
}


@contextmanager
def connect(address: str, workers: int) -> Iterator[Client]:
    """Yield a Client of the scheduler at `address`, or of `workers` processes started here."""
    with dask.config.set(SETTINGS):
        if address:
            try:
                client = Client(address, timeout=REACHED_IN)
            except (OSError, ValueError):
                raise InstallationFault(
                    f"No Dask scheduler answers at {address}: start one, or grade without --scheduler."
                ) from None
            with client:
                yield client
            return
        names = [f"autograder.grading.{name}" for name in ("job", "score", "harmless")]
        get_mp_context().set_forkserver_preload(["distributed", *names])
        with TemporaryDirectory(prefix="dask-", ignore_cleanup_errors=True) as scratch:
            with deaf_to_interrupts():
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=0,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # any port: another run may have the usual one
                    local_directory=scratch,
                    silence_logs="CRITICAL",
                )
            with cluster, Client(cluster) as client:
                yield client


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C: it reaches all of a terminal, and is for the coordinator."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run(
    client: Client, function: Callable[..., R], jobs: Iterable[J], *arguments: object
) -> Iterator[tuple[J, R | Exception]]:
    """Yield (job, result) for each of `jobs`, as they finish, from function(job, *arguments).

    `jobs` is read only as far as the cluster has room. The result is an exception where the
    function raised one, and KilledWorker where the job ended two workers.
    """
    waiting: dict[object, J] = {}
    jobs, finished = iter(jobs), as_completed()
    ahead = AHEAD * (sum(client.nthreads().values()) or os.cpu_count() or 1)
    while True:
        while len(waiting) < ahead and (job := next(jobs, None)) is not None:
            future = client.submit(function, job, *arguments, pure=False)
            waiting[future.key] = job
            finished.add(future)
        if not waiting:
            return
        future = next(finished)
        yield waiting.pop(future.key), future.exception() or future.result()


__all__ = ["KilledWorker", "connect", "run"]
