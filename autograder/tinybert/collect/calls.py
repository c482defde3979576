"""Be told of a module's calls, however they are made."""

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from torch.nn import Module

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Function = Callable[..., Any]  # a module's forward
Called = Callable[[Module, Function, Args, Kwargs], Any]


class Reported:
    """Stands in for a module's forward; with copies of the module goes one of their own."""

    def __init__(self, module: Module, forward: Function, watch: SimpleNamespace) -> None:
        functools.update_wrapper(self, forward)  # its signature, too
        self.module, self.forward, self.watch = module, forward, watch

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.watch.called is None:
            return self.forward(*args, **kwargs)
        return self.watch.called(self.module, self.forward, args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reported":
        module = memo.get(id(self.module))
        if module is None:
            return self
        is_own = getattr(self.forward, "__self__", None) is self.module
        forward = class_forward(module) if is_own else copy.deepcopy(self.forward, memo)
        return Reported(module, forward, self.watch)

    def __reduce__(self) -> tuple[Any, ...]:
        return class_forward, (self.module,)  # what is saved reports nothing


def class_forward(module: Module) -> Function:
    """Return the forward that a module has by its class."""
    forward: Function = type(module).forward.__get__(module)
    return forward


@contextmanager
def reported(module: Module, called: Called) -> Iterator[None]:
    """Have called(module, forward, args, kwargs) make each call of `module`, and of copies made meanwhile.

    `module(...)` and `module.forward(...)` alike: hooks would see the first only.
    """
    watch, own = SimpleNamespace(called=called), vars(module).get("forward")
    module.forward = standing_in = Reported(module, own or module.forward, watch)
    try:
        yield
    finally:
        watch.called = None
        if vars(module).get("forward") is standing_in:  # else somebody has wrapped it
            del module.forward
            if own:
                module.forward = own
