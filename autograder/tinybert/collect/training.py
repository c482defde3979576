"""Call the student's training loop on probes and record what it did."""

import asyncio
import copy
import functools
import inspect
import math
import numbers
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import torch
from IPython import get_ipython
from IPython.utils.capture import capture_output
from torch.optim.lr_scheduler import LRScheduler

from .. import draws
from ..records import TrainingRecord, Trial
from .optimizer import changed_settings, describe, plain_settings
from .probe import Probe, default_dtype
from .recorder import Recorder

LONGEST = 80  # characters of a line of code in a message


class UsedGlobal(Exception):
    """The loop touched one of the notebook's variables in place of its own argument."""


class Tripwire:
    """Stands in for one of the notebook's variables; any use of it raises UsedGlobal."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def _trip(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UsedGlobal(object.__getattribute__(self, "_name"))

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # isinstance() asks for it, of every object that there is
            return Tripwire
        object.__getattribute__(self, "_trip")()

    __setattr__ = __call__ = __iter__ = __len__ = __getitem__ = __enter__ = __bool__ = _trip


def variables(function: Any) -> dict[str, Any]:
    """Return the global variables of the module or notebook in which a function was written."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__globals__"):
        function = getattr(type(function).__call__, "__func__", type(function).__call__)
    return getattr(function, "__globals__", {})


@contextmanager
def tripwires(namespace: dict[str, Any]) -> Iterator[None]:
    """Replace the notebook's model, train_loader and optimizer for a while."""
    kept: dict[str, Any] = {n: namespace[n] for n in ("model", "train_loader", "optimizer") if n in namespace}
    namespace.update({name: Tripwire(name) for name in kept})
    try:
        yield
    finally:
        namespace.update(kept)


class Bystander:
    """The notebook's own optimizer, which a loop on a probe has no business with.

    While in use as a context manager, its settings may be changed, by a scheduler that is bound to it;
    afterwards they, and the scheduler, are as they were. `changed`: what was, {setting: [before, now]}.
    """

    def __init__(self, function: Any) -> None:
        shell, namespace = get_ipython(), variables(function)
        known = [*namespace.items(), *(shell.user_ns.items() if shell else ())]
        found = (value for name, value in known if name == "optimizer")
        self.optimizer = next((o for o in found if issubclass(type(o), torch.optim.Optimizer)), None)
        values = [value for _, value in known]
        values += [*(getattr(function, "__defaults__", None) or ())]
        values += [*(getattr(function, "__kwdefaults__", None) or {}).values()]
        self.schedulers = [s for s in schedulers_in(values) if s.optimizer is self.optimizer]
        self.changed: dict[str, list[Any]] = {}

    def __enter__(self) -> "Bystander":
        if self.optimizer is not None:
            groups = self.optimizer.param_groups
            self.settings = [plain_settings(group) for group in groups]
            self.groups = [{k: kept(v) for k, v in group.items() if k != "params"} for group in groups]
            self.states = [dict(vars(scheduler)) for scheduler in self.schedulers]
            for scheduler in self.schedulers:
                # The probes take more steps than one that counts to the end of the notebook's run allows.
                if hasattr(scheduler, "total_steps"):
                    scheduler.total_steps = math.inf
        return self

    def __exit__(self, *exception: object) -> None:
        if self.optimizer is not None:
            self.changed = changed_settings(self.optimizer, self.settings)
            for group, settings in zip(self.optimizer.param_groups, self.groups):
                group.update(settings)
            for scheduler, state in zip(self.schedulers, self.states):
                vars(scheduler).clear()
                vars(scheduler).update(state)


def schedulers_in(values: Iterable[Any], deep: int = 2) -> list[LRScheduler]:
    """Return the schedulers among values, in lists and dictionaries of such, and in other schedulers."""
    found: list[LRScheduler] = []
    for value in values:
        # By type: some objects answer isinstance() with an error.
        if issubclass(type(value), LRScheduler):
            found += [value, *schedulers_in(getattr(value, "_schedulers", ()), deep)]
        elif deep and type(value) in (list, tuple, dict) and len(value) < 100:
            found += schedulers_in(value.values() if type(value) is dict else value, deep - 1)
    return found


def kept(setting: Any) -> Any:
    """Return a setting as it is now: a tensor may be changed in place."""
    return setting.clone() if isinstance(setting, torch.Tensor) else copy.copy(setting)


@contextmanager
def bound_before(*streams: Any) -> Iterator[None]:
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
def one_thread() -> Iterator[None]:
    """Compute on one thread: the probes are so small that more only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def collect_training(train_tinybert: Any, seed: int | str) -> TrainingRecord:
    """Run `train_tinybert` on the probes that `seed` draws; return the record.

    The process's random state is left as it was.
    """
    kind = type(train_tinybert).__name__
    if not callable(train_tinybert):
        return TrainingRecord(is_callable=False, kind=kind)
    record = TrainingRecord(is_callable=True, kind=kind)
    # Compiling a loop takes longer than running it here, and under grading there is no compiler.
    eager = torch.compiler.set_stance("force_eager")
    with torch.random.fork_rng(), one_thread(), eager, default_dtype(torch.get_default_dtype()):
        for plan in draws.trials(seed):
            trial = run(train_tinybert, Probe(plan))
            record.trials.append(trial)
            if trial.error or trial.used_global:  # the next trial would only say it again
                break
    return record


def new_trial(plan: draws.Plan) -> Trial:
    """Return the Trial of a plan before anything has happened."""
    return Trial(plan.num_epochs, plan.default_epochs, plan.examples, plan.batches, lr=plan.lr)


def run(train_tinybert: Callable[..., Any], probe: Probe) -> Trial:
    """Call the loop once on a fresh probe and return the Trial."""
    trial = new_trial(probe.plan)
    settings = {} if trial.default_epochs else {"num_epochs": trial.num_epochs}
    bystander = Bystander(train_tinybert)
    with Recorder(probe) as recorder, bystander, tripwires(variables(train_tinybert)):
        streams = sys.stdout, sys.stderr
        with capture_output() as captured, bound_before(*streams), torch.enable_grad():
            if shell := get_ipython():
                shell.display_pub.set_parent = lambda parent: None  # widgets expect a kernel's own
            try:
                returned = train_tinybert(probe.model, probe.loader, probe.optimizer, **settings)
            except UsedGlobal as error:
                trial.used_global = str(error)
            except NotImplementedError as error:
                # Raised by itself, not by what it calls, such as input() where nobody can answer.
                trial.unfinished = len(list(traceback.walk_tb(error.__traceback__))) == 2
                trial.error, trial.line = describe(error), line_of(error, train_tinybert)
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                trial.error, trial.line = describe(error), line_of(error, train_tinybert)
            else:
                trial.returned, trial.returned_type = plain(returned), type(returned).__name__
    trial.events = recorder.learning(stopped=trial.error is not None)
    shown = [  # by display(), or rich
        str(text) for output in captured.outputs for kind, text in output.data.items() if "text/" in kind
    ]
    trial.printed = "\n".join([captured.stdout + captured.stderr, *shown])
    recorder.note_flags()
    trial.frozen_changed, trial.flags_changed = recorder.frozen_changed(), recorder.flags_changed
    trial.weights_kept = recorder.weights_kept()
    trial.settings = changed_settings(probe.optimizer, recorder.settings)
    trial.outside = bystander.changed
    now = dict(probe.model.named_parameters())
    trial.lost = [name for name in probe.parameters if name not in now]
    trial.changes = probe.packed_changes(None if trial.weights_kept else recorder.settled)
    return trial


def line_of(error: BaseException, function: Callable[..., Any]) -> str:
    """Return the last line of the function's own cell on the way to an error; "" if there is none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    own = [at for at in traceback.extract_tb(error.__traceback__) if code and at.filename == code.co_filename]
    return f"{own[-1].lineno}: `{own[-1].line[:LONGEST]}`" if own and own[-1].line else ""


def plain(returned: Any) -> list[float | str] | None:
    """Return a list's entries as floats, or as type names where they are no plain numbers."""
    if not isinstance(returned, list):
        return None
    return [
        float(value)
        if isinstance(value, numbers.Real) and not isinstance(value, bool)
        else type(value).__name__
        for value in returned
    ]
