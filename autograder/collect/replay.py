"""Replay a forward call: what gradients should its batch have given?"""

import torch
from torch.func import functional_call


class Replay:
    """A forward call as it was about to happen: weights, modes, precision and arguments.

    weights: {name: tensor}, copies of the parameters whose gradients matter.
    """

    def __init__(self, model, weights, args, kwargs):
        self.weights, self.args, self.kwargs = weights, args, kwargs
        self.precision = dict(
            dtype=torch.get_autocast_dtype("cpu"), enabled=torch.is_autocast_enabled("cpu")
        )
        self.modes = {name: module.training for name, module in model.named_modules()}

    def gradients(self, twin):
        """Return {name: gradient} of the model's own loss, or None where it computed none.

        twin: a model of the same architecture and frozen weights, without anybody's hooks.
        """
        for name, module in twin.named_modules():
            module.training = self.modes[name]
        with torch.enable_grad(), torch.autocast("cpu", **self.precision):
            leaves = {name: weight.requires_grad_() for name, weight in self.weights.items()}
            output = functional_call(twin, leaves, self.args, self.kwargs)
            if output[0].dim():
                return None
            found = torch.autograd.grad(output[0], list(leaves.values()), allow_unused=True)
        return {name: g for name, g in zip(leaves, found) if g is not None}


def explains(expected, actual):
    """Whether gradients {name: tensor or None} are the expected ones, or those clipped.

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
