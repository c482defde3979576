"""Call the student's training loop on probes and record what it did."""

import functools
import inspect
import numbers
import random
from contextlib import contextmanager

import torch
from IPython.utils.capture import capture_output

from ..records import TrainingRecord, Trial
from .probe import Probe


class UsedGlobal(Exception):
    """The loop touched one of the notebook's variables in place of its own argument."""


class Tripwire:
    """Stands in for one of the notebook's variables; any use of it raises UsedGlobal."""

    def __init__(self, name):
        object.__setattr__(self, "_name", name)

    def _trip(self, *args, **kwargs):
        raise UsedGlobal(object.__getattribute__(self, "_name"))

    __getattribute__ = __setattr__ = __call__ = __iter__ = __len__ = __getitem__ = _trip
    __enter__ = __bool__ = _trip


@contextmanager
def tripwires(function):
    """Replace the notebook's model, train_loader and optimizer while `function` runs."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__globals__"):
        function = getattr(type(function).__call__, "__func__", type(function).__call__)
    namespace = getattr(function, "__globals__", {})
    kept = {n: namespace[n] for n in ("model", "train_loader", "optimizer") if n in namespace}
    namespace.update({name: Tripwire(name) for name in kept})
    try:
        yield
    finally:
        namespace.update(kept)


@contextmanager
def one_thread():
    """Compute on one thread: the probes are so small that more only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def collect_training(train_tinybert, seed):
    """Run `train_tinybert` on three probes drawn from `seed`; return the TrainingRecord.

    The trials differ in the number of epochs, batches and examples; the last batch is
    ragged, and the last trial leaves `num_epochs` to its default. The process's random
    state is left as it was.
    """
    kind = type(train_tinybert).__name__
    if not callable(train_tinybert):
        return TrainingRecord(is_callable=False, kind=kind)
    draw = random.Random(seed)
    record = TrainingRecord(is_callable=True, kind=kind)
    with torch.random.fork_rng(), one_thread():
        for epochs in (*draw.sample((2, 3, 4), 2), None):
            batches = 2 if epochs is None else draw.choice((3, 4))
            batch_size = draw.choice((3, 4))
            examples = batches * batch_size - draw.choice((1, 2))
            trial = run(train_tinybert, epochs, examples, batch_size, draw.randrange(2**31))
            record.trials.append(trial)
            if trial.error or trial.used_global:  # the next trial would only say it again
                break
    return record


def run(train_tinybert, epochs, examples, batch_size, seed):
    """Call the loop once on a fresh probe and return the Trial."""
    trial = Trial(
        num_epochs=10 if epochs is None else epochs,
        default_epochs=epochs is None,
        examples=examples,
        batches=-(-examples // batch_size),
    )
    settings = {} if epochs is None else {"num_epochs": epochs}
    with Probe(examples, batch_size, seed) as probe, tripwires(train_tinybert):
        with capture_output() as captured, torch.enable_grad():
            try:
                returned = train_tinybert(probe.model, probe.loader, probe.optimizer, **settings)
            except UsedGlobal as error:
                trial.used_global = str(error)
            except NotImplementedError as error:
                trial.unfinished, trial.error = True, describe(error)
            except (Exception, SystemExit) as error:
                trial.error = describe(error)
            else:
                trial.returned, trial.returned_type = plain(returned), type(returned).__name__
    trial.events = probe.events
    trial.printed = captured.stdout + captured.stderr
    trial.frozen_changed, trial.flags_changed = probe.changes()
    return trial


def describe(error):
    """Return an exception as one short line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(": ")


def plain(returned):
    """Return a list's entries as floats, or as type names where they are no plain numbers."""
    if not isinstance(returned, list):
        return None
    return [
        float(value)
        if isinstance(value, numbers.Real) and not isinstance(value, bool)
        else type(value).__name__
        for value in returned
    ]
