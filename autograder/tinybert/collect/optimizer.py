"""Record what is in the student's optimizer, and what its steps do."""

import copy
import numbers
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch

from .. import draws
from ..lesson import FROZEN
from ..records import Movement, OptimizerRecord, ParameterGroup

NOISE = 2**16  # values that are drawn for gradients, to be repeated


def collect_optimizer(optimizer: Any, model: torch.nn.Module, seed: int | str) -> OptimizerRecord:
    """Return the record of `optimizer` over `model`.

    A copy takes steps on gradients drawn from the seed, so that the record tells what the optimizer
    does and not only what it says it does.
    """
    parameters = {plain_name(name): parameter for name, parameter in model.named_parameters()}
    names = {id(parameter): name for name, parameter in parameters.items()}
    is_optimizer = isinstance(optimizer, torch.optim.Optimizer)
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    groups = optimizer.param_groups if is_optimizer else []
    record = OptimizerRecord(
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
        trainable=[name for name, p in parameters.items() if p.requires_grad],
        left_by_setup=[name for name in parameters if not name.startswith(FROZEN)],
    )
    if is_optimizer:
        measure_steps(optimizer, parameters, seed, record)
    return record


def describe(error: BaseException) -> str:
    """Return an exception as one short line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(".: ")


def plain_settings(group: Mapping[str, Any]) -> dict[str, Any]:
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


def changed_settings(optimizer: torch.optim.Optimizer, before: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return {setting: [before, now]} of those that differ; a scheduler's own are none.

    before: the plain_settings of each of its groups.
    """
    changed: dict[str, list[Any]] = {}
    for was, group in zip(before, optimizer.param_groups):
        now = plain_settings(group)
        changed |= {key: [value, now.get(key)] for key, value in was.items() if now.get(key) != value}
    if len(optimizer.param_groups) != len(before):
        changed["param_groups"] = [len(before), len(optimizer.param_groups)]
    return changed


def measure_steps(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    seed: int | str,
    record: OptimizerRecord,
) -> None:
    """Let a copy of the optimizer take steps on copies of all parameters; record a Movement for each name.

    A sample of each parameter's values is looked at: AdamW treats every value by itself. Nothing is
    recorded but the error where a step stops with one.
    """
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    clones, memo, gradients, samples = {}, dict[int, Any](), {}, {}
    # All above zero: who takes means away from gradients changes their signs.
    noise = torch.rand(NOISE, generator=torch.Generator().manual_seed(0), dtype=torch.float32) + 0.1
    for name, parameter in parameters.items():
        clone = torch.nn.Parameter(parameter.detach().cpu().clone(), parameter.requires_grad)
        clones[name] = memo[id(parameter)] = clone
        count = clone.numel()
        if id(parameter) in held:
            gradients[name] = noise.repeat(-(-count // NOISE))[:count].view_as(clone).to(clone.dtype)
        else:  # it has a gradient, which is enough to see whether it moves
            clone.grad = noise[0].to(clone.dtype).expand_as(clone)
        samples[name] = torch.arange(0, count, max(1, count // draws.SAMPLE))[: draws.SAMPLE]
    optimizer = copied(optimizer, memo)
    found = {name: Movement([values(clones[name], places)]) for name, places in samples.items()}
    for number, size in enumerate(draws.STEP_SIZES):
        for name in gradients:
            gradient, places = gradients[name] * size, samples[name]
            clones[name].grad = gradient
            drawn = draws.gradients(seed, name, len(places))[number]
            gradient.view(-1)[places] = torch.tensor(drawn, dtype=gradient.dtype)
        try:
            with torch.no_grad():
                optimizer.step()
        except (AttributeError, KeyError):
            return  # it may miss what only the original has
        except Exception as error:
            record.error = describe(error)
            return
        for name, places in samples.items():
            found[name].values.append(values(clones[name], places))
    record.movements = found


def copied(optimizer: torch.optim.Optimizer, memo: dict[int, Any]) -> torch.optim.Optimizer:
    """Return a copy of an optimizer that has never stepped; what cannot be copied, it shares.

    memo: as deepcopy takes it, with the copies of the parameters.
    """
    found = memo[id(optimizer)] = object.__new__(type(optimizer))

    def copy_of(value: Any) -> Any:
        try:
            return copy.deepcopy(value, memo)
        except Exception:  # a file, a lock, a tensor with a graph
            return value

    for name, value in vars(optimizer).items():
        if name != "step":  # a scheduler's, bound to the original
            setattr(found, name, value if name in ("param_groups", "state") else copy_of(value))
    found.state = defaultdict(dict)
    found.param_groups = [
        {k: [copy_of(p) for p in v] if k == "params" else copy_of(v) for k, v in group.items()}
        for group in optimizer.param_groups
    ]
    return found


def plain_name(name: str) -> str:
    """Return a parameter's name without what wrapping its model has put before it."""
    return name.removeprefix("_orig_mod.").removeprefix("module.")


def values(parameter: torch.Tensor, places: torch.Tensor) -> list[float]:
    """Return some of a parameter's values as a list."""
    return parameter.detach().flatten()[places].float().tolist()
