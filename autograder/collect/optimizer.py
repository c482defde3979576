"""Record what is in the student's optimizer, and what one step of it does."""

import copy
import numbers
from collections import defaultdict

import torch

from ..lesson import FROZEN
from ..records import OptimizerRecord, ParameterGroup, Update


def collect_optimizer(optimizer, model, seed=None):
    """Return the OptimizerRecord of `optimizer` over `model`.

    With a `seed`, a copy of both also takes one step on random gradients, so that
    the record tells what the optimizer does and not only what it says it does.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    is_optimizer = isinstance(optimizer, torch.optim.Optimizer)
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    groups = optimizer.param_groups if is_optimizer else []
    return OptimizerRecord(
        kind=kind.__name__,
        is_optimizer=is_optimizer,
        is_class=isinstance(optimizer, type),
        decoupled=isinstance(optimizer, torch.optim.AdamW)
        or bool(groups)
        and all(group.get("decoupled_weight_decay") for group in groups),
        groups=[
            ParameterGroup(
                names=[names[id(p)] for p in group["params"] if id(p) in names],
                foreign=sum(id(p) not in names for p in group["params"]),
                settings=plain_settings(group),
            )
            for group in groups
        ],
        trainable=[name for name, p in model.named_parameters() if p.requires_grad],
        left_by_setup=[name for name, _ in model.named_parameters() if not name.startswith(FROZEN)],
        updates=measure_step(optimizer, model, seed) if is_optimizer and seed is not None else {},
    )


def plain_settings(group):
    """Return the numbers among a parameter group's settings (lr may be a 0-d tensor)."""
    settings = {}
    for key, value in group.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, numbers.Real):
            settings[key] = value
    return settings


def measure_step(optimizer, model, seed):
    """Let a copy of the optimizer take one step; return an Update for each parameter name.

    AdamW's first step is w - lr * sign(g) - lr * weight_decay * w (Loshchilov & Hutter
    2019, https://arxiv.org/abs/1711.05101), so a least-squares fit of the movement on
    sign(g) and w gives both settings back.
    """
    optimizer, model = copy.deepcopy((optimizer, model))
    optimizer.state = defaultdict(dict)  # as if it had never stepped
    generator = torch.Generator().manual_seed(seed)
    before = {}
    for name, parameter in model.named_parameters():
        size = parameter.shape
        gradient = torch.rand(size, generator=generator) + 0.5
        gradient *= torch.randint(0, 2, size, generator=generator) * 2 - 1
        parameter.grad = gradient.to(parameter.device)
        before[name] = parameter.detach().clone()
    with torch.no_grad():
        optimizer.step()
    return {
        name: fit(before[name], parameter.detach(), parameter.grad)
        for name, parameter in model.named_parameters()
    }


def fit(before, after, gradient):
    """Fit lr and weight_decay to one parameter's movement; all three tensors have its shape."""
    moved = (before.double() - after.double()).flatten().cpu()
    if not moved.any():
        return Update(moved=False, lr=None, weight_decay=None)
    decays = bool(before.any())
    columns = [gradient.sign().flatten(), before.flatten()] if decays else [gradient.sign().flatten()]
    basis = torch.stack(columns, 1).double().cpu()
    solution = torch.linalg.lstsq(basis, moved[:, None]).solution[:, 0]
    residual = (basis @ solution - moved).norm() / moved.norm()
    if residual > 0.01 or solution[0] <= 0:
        return Update(moved=True, lr=None, weight_decay=None)
    lr = float(solution[0])
    return Update(moved=True, lr=lr, weight_decay=float(solution[1]) / lr if decays else None)
