"""Be told of a model's calls, however they are made."""

from contextlib import contextmanager
from functools import wraps


@contextmanager
def reported(model, called):
    """Have called(model, forward, args, kwargs) make each call of `model`, and of copies made meanwhile.

    `model(...)` and `model.forward(...)` alike: hooks would see the first only, and an attribute of the
    model's would have its copies call the model itself.
    """
    kind = type(model)

    class Reporting(kind):
        @wraps(kind.forward)
        def forward(self, *args, **kwargs):
            return called(self, super().forward, args, kwargs)

    Reporting.__name__, Reporting.__qualname__ = kind.__name__, kind.__qualname__
    model.__class__ = Reporting
    try:
        yield
    finally:
        model.__class__ = kind
