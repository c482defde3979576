"""Replay a forward call: what gradients should its batch have given?"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import Module

from .calls import Args, Kwargs


class Twin:
    """A copy of a model, made before anybody could put a hook on it."""

    def __init__(self, model: Module) -> None:
        self.model = copy.deepcopy(model)
        self.modules = dict(self.model.named_modules())
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}


class Replay:
    """A forward call as it was about to happen: weights, modes, precision and arguments.

    modules: of the model, by name. weights: those whose gradients matter, by name.
    """

    def __init__(
        self, modules: Mapping[str, Module], weights: Mapping[str, torch.Tensor], args: Args, kwargs: Kwargs
    ) -> None:
        self.weights, self.args, self.kwargs = weights, args, kwargs
        self.precision: dict[str, Any] = dict(
            dtype=torch.get_autocast_dtype("cpu"), enabled=torch.is_autocast_enabled("cpu")
        )
        self.modes = {name: module.training for name, module in modules.items()}

    def gradients(self, twin: Twin) -> dict[str, torch.Tensor] | None:
        """Return the gradients, by name, of the model's own loss, or None where it computed none."""
        for name, module in twin.modules.items():
            module.training = self.modes.get(name, module.training)
        with torch.no_grad():
            torch._foreach_copy_(list(twin.parameters.values()), [self.weights[n] for n in twin.parameters])
        with torch.enable_grad(), torch.autocast("cpu", **self.precision):
            output = twin.model(*self.args, **self.kwargs)
            if output[0].dim():
                return None
            found = torch.autograd.grad(output[0], list(twin.parameters.values()), allow_unused=True)
        return {name: g for name, g in zip(twin.parameters, found) if g is not None}


def explains(expected: Mapping[str, torch.Tensor], actual: Mapping[str, torch.Tensor | None]) -> bool:
    """Whether gradients are the expected ones, or those clipped.

    Clipping, by norm or by value, moves each number towards zero and none to it. One part in
    twenty is left for reduced precision.
    """
    largest = max(float(g.abs().max()) for g in expected.values())
    for name, wanted in expected.items():
        found = actual[name]
        slack = max(0.05 * float(wanted.abs().max()), 1e-4 * largest)
        if found is None:
            found = torch.zeros_like(wanted)
        clear = wanted.abs() > slack
        if bool(((found * wanted.sign() < -slack) | (found.abs() > wanted.abs() + slack)).any()):
            return False
        if bool((clear & (found == 0)).any()):
            return False
    return True
