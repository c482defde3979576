"""Call the student's training loop on probes and record what it did."""

import functools
import inspect
import numbers
import sys
from contextlib import contextmanager, suppress

import torch
from IPython import get_ipython
from IPython.utils.capture import capture_output

from .. import draws
from ..records import TrainingRecord, Trial
from .probe import Probe
from .recorder import Recorder


class UsedGlobal(Exception):
    """The loop touched one of the notebook's variables in place of its own argument."""


class Tripwire:
    """Stands in for one of the notebook's variables; any use of it raises UsedGlobal."""

    def __init__(self, name):
        object.__setattr__(self, "_name", name)

    def _trip(self, *args, **kwargs):
        raise UsedGlobal(object.__getattribute__(self, "_name"))

    def __getattribute__(self, name):
        if name == "__class__":  # isinstance() asks for it, of every object that there is
            return Tripwire
        object.__getattribute__(self, "_trip")()

    __setattr__ = __call__ = __iter__ = __len__ = __getitem__ = __enter__ = __bool__ = _trip


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
def bound_before(*streams):
    """Put the streams back that were there before capturing, and have them write to the captured ones.

    Some have imported `stdout` by its name, and a logging handler keeps the stream it was made with.
    """
    captured = sys.stdout, sys.stderr
    with suppress(AttributeError):  # streams that take no attributes: not a kernel's
        for stream, capturing in zip(streams, captured):
            stream.write = capturing.write
        sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = captured
        for stream in streams:
            vars(stream).pop("write", None)


@contextmanager
def one_thread():
    """Compute on one thread: the probes are so small that more only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def collect_training(train_tinybert, seed, as_evidence=False):
    """Run `train_tinybert` on the probes that `seed` draws; return the TrainingRecord.

    Where it is no evidence, the steps are replayed, to see whose gradients they followed. The
    process's random state is left as it was.
    """
    kind = type(train_tinybert).__name__
    if not callable(train_tinybert):
        return TrainingRecord(is_callable=False, kind=kind)
    record = TrainingRecord(is_callable=True, kind=kind)
    # Compiling a loop takes longer than running it here, and under grading there is no compiler.
    with torch.random.fork_rng(), one_thread(), torch.compiler.set_stance("force_eager"):
        for plan in draws.trials(seed):
            # The last trial is about the number of epochs: its steps are as the others'.
            probe = Probe(plan)
            trial = run(train_tinybert, probe, replays=not as_evidence and plan.epochs is not None)
            record.trials.append(trial)
            if trial.error or trial.used_global:  # the next trial would only say it again
                break
    return record


def new_trial(plan):
    """Return the Trial of a plan before anything has happened."""
    return Trial(
        num_epochs=plan.num_epochs,
        default_epochs=plan.default_epochs,
        examples=plan.examples,
        batches=plan.batches,
    )


def run(train_tinybert, probe, replays):
    """Call the loop once on a fresh probe and return the Trial; `replays` as for a Recorder."""
    trial = new_trial(probe.plan)
    settings = {} if trial.default_epochs else {"num_epochs": trial.num_epochs}
    with Recorder(probe, replays) as recorder, tripwires(train_tinybert):
        streams = sys.stdout, sys.stderr
        with capture_output() as captured, bound_before(*streams), torch.enable_grad():
            if shell := get_ipython():
                shell.display_pub.set_parent = lambda parent: None  # widgets expect a kernel's own
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
    trial.events = recorder.events
    shown = [  # by display(), or rich
        str(text) for output in captured.outputs for kind, text in output.data.items() if "text/" in kind
    ]
    trial.printed = "\n".join([captured.stdout + captured.stderr, *shown])
    trial.frozen_changed, trial.flags_changed = recorder.changes()
    trial.weights_kept, trial.settings = recorder.weights_kept(), recorder.changed_settings()
    trial.changes = probe.packed_changes(None if trial.weights_kept else recorder.settled)
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
