"""Time as a kernel could have used it."""

import asyncio
import time
from queue import Empty

import pytest
import zmq.asyncio
from jupyter_client.session import Session

from autograder.kernels.client import Channel
from autograder.kernels.clock import PATIENCE, RAN, Clock


@pytest.fixture
def now(monkeypatch):
    """Return a list whose one item is the time."""
    found = [100.0]
    monkeypatch.setattr("autograder.kernels.clock.monotonic", lambda: found[0])
    return found


def test_of_threads_that_wait_at_once_the_longest_wait_counts(now):
    waits = {"main": 3.0}
    clock = Clock(lambda: dict(waits))
    now[0] += 10
    waits |= {"main": 7.0, "new": 6.0}
    assert clock.used() == 4
    waits["new"] = 2.0
    assert clock.used() == 6


def test_time_passes_for_a_kernel_that_always_waits(now):
    clock = Clock(lambda: {"main": now[0]})
    now[0] += 10 * PATIENCE
    assert clock.used() == 10


def test_threads_that_wait_for_each_other_use_what_they_ran(now):
    """Sixty busy ones on two processors wait nearly always, and use both; more than has passed counts for nobody."""
    spent = {RAN: 5.0, "main": 0.0}
    clock = Clock(lambda: dict(spent))
    now[0] += 10
    spent |= {RAN: 13.0, "main": 9.5}
    assert clock.used() == 8
    spent[RAN] = 25.0
    assert clock.used() == 10


def test_where_nothing_is_counted_the_clock_counts(now):
    clock = Clock()
    now[0] += 10
    assert clock.used() == 10


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.3, 0.6), (0.75, 1.2, 2.0), (1.0, 3.0, 4.0)])
def test_a_channel_waits_as_long_as_the_kernel_could_not_work(share, least, most):
    async def wait():
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            channel = Channel(socket, Session())
            channel.waits = lambda: {"main": time.monotonic() * share}
            begun = time.monotonic()
            with pytest.raises(Empty):
                await channel.get_msg(timeout=0.3)
            return time.monotonic() - begun

    assert least <= asyncio.run(wait()) < most
