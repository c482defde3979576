"""Time as a kernel could have used it: a machine that is busy with other things costs it nothing."""

from collections.abc import Callable, Mapping
from time import monotonic

PATIENCE = 10  # times a limit that may pass on the clock, however busy the machine is

Waits = Callable[[], Mapping[str, float]]  # seconds that each thread has waited so far


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
        waited = (now - self.before.get(thread, 0.0) for thread, now in self.waits().items())
        return max(passed - max(waited, default=0.0), passed / PATIENCE)
