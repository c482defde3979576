"""Record what is in the student's optimizer, and what its steps do."""

import copy
import numbers
from collections import defaultdict

import torch

from .. import draws
from ..lesson import FROZEN
from ..records import Movement, OptimizerRecord, ParameterGroup


def collect_optimizer(optimizer, model, seed=None):
    """Return the OptimizerRecord of `optimizer` over `model`.

    With a `seed`, a copy also takes steps on the gradients that it draws, so that the
    record tells what the optimizer does and not only what it says it does.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    is_optimizer = isinstance(optimizer, torch.optim.Optimizer)
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    groups = optimizer.param_groups if is_optimizer else []
    return OptimizerRecord(
        kind=kind.__name__,
        is_optimizer=is_optimizer,
        is_class=isinstance(optimizer, type),
        # NAdam and RAdam can decay like this too, but step differently.
        decoupled=isinstance(optimizer, torch.optim.Adam)
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
        movements=measure_steps(optimizer, model, seed) if is_optimizer and seed is not None else {},
    )


def plain_settings(group):
    """Return the numbers among a parameter group's settings (lr may be a 0-d tensor, betas are two)."""
    settings, group = {}, dict(group)
    if "betas" in group:
        group["beta1"], group["beta2"] = group.pop("betas")
    for key, value in group.items():
        if getattr(value, "shape", None) == () or isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, float):
            value = float.__float__(value)  # a subclass may compare as it likes
        if isinstance(value, numbers.Real):
            settings[key] = value if isinstance(value, int) else float(value)
    return settings


def measure_steps(optimizer, model, seed):
    """Let a copy of the optimizer take steps; return a Movement for each parameter name.

    AdamW treats every value by itself, so the copy holds a sample of each parameter's.
    """
    samples, memo = {}, {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().flatten()
        values = values[:: max(1, len(values) // draws.SAMPLE)][: draws.SAMPLE].float().cpu()
        samples[name] = memo[id(parameter)] = torch.nn.Parameter(values.clone(), parameter.requires_grad)
    original, optimizer = optimizer, copy.deepcopy(optimizer, memo)
    for name, value in vars(original).items():  # a copy is made without hooks and a subclass's own
        if name not in ("param_groups", "state") and not callable(value):
            setattr(optimizer, name, copy.deepcopy(value, memo))
    optimizer.state = defaultdict(dict)  # as if it had never stepped
    found = {name: Movement([sample.tolist()]) for name, sample in samples.items()}
    for number in range(len(draws.STEP_SIZES)):
        for name, sample in samples.items():
            sample.grad = torch.tensor(draws.gradients(seed, name, len(sample))[number])
        with torch.no_grad():
            optimizer.step()
        for name, sample in samples.items():
            found[name].values.append(sample.tolist())
    return found
