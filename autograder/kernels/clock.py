"""Time as a kernel could have used it: a machine that is busy with other things costs it nothing."""

from collections.abc import Callable, Mapping
from time import monotonic

PATIENCE = 10  # times a limit that may pass on the clock, however busy the machine is

RAN = "ran"
Waits = Callable[
    [], Mapping[str, float]
]  # seconds that each thread has waited so far; RAN: that all have run


class Clock:
    """Counts the seconds from now on, without those that a kernel spent waiting for a processor.

    waits: as `WarmProvisioner.waits`; of several threads that waited at once, the longest wait counts.
    None: count all.
    """

    def __init__(self, waits: Waits | None = None) -> None:
        self.waits: Waits = waits or dict
        self.begun, self.before = monotonic(), self.waits()

    def used(self) -> float:
        """Return the seconds that it ran, slept or waited for anything else."""
        passed = monotonic() - self.begun
        spent = {what: now - self.before.get(what, 0.0) for what, now in self.waits().items()}
        ran = spent.pop(RAN, 0.0)  # threads that wait for each other have all the time there is
        return max(passed - max(spent.values(), default=0.0), min(ran, passed), passed / PATIENCE)
