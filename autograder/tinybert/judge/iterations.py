"""Read a trial's events as training iterations and epochs."""

from dataclasses import dataclass, field
from itertools import groupby

from ..records import Backward, Forward, Step, Trial


@dataclass
class Iteration:
    """A forward call of the passed model, with what followed before the next one."""

    forward: Forward
    backwards: list[Backward] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    early_steps: int = 0  # steps between this forward call and its backward


def iterations(trial: Trial) -> list[Iteration]:
    """Return the trial's training iterations: extra validation passes are left out."""
    found, forwards = [], []
    learning = enabled = None  # the last call that was learnt from, or could have been
    learnt_from = {event.forward for event in trial.events if isinstance(event, Backward)}
    for event in trial.events:
        match event:
            case Forward():
                forwards.append(Iteration(event))
                if event.passed_model:
                    found.append(forwards[-1])
                if len(forwards) - 1 in learnt_from:
                    learning = forwards[-1]
                if event.grad_enabled:
                    enabled = forwards[-1]
            case Backward():
                owner = forwards[event.forward]
                owner.early_steps, owner.steps = len(owner.steps), []
                owner.backwards.append(event)
            case Step() if forwards:
                # What was only evaluated since has no part in a step.
                (learning or enabled or forwards[-1]).steps.append(event)
    known = [i for i in found if i.forward.examples and min(i.forward.examples) >= 0]
    if not any(i.backwards for i in found):
        return known or found
    # A batch without a backward belongs to training if others of its pass have one, and it was
    # not run for the second time, to evaluate.
    done = {key(i) for i in found if i.backwards}
    modes = {mode for mode, _ in done}
    if len({i.forward.loader_pass for i in known}) == trial.num_epochs:  # then none of them is extra
        modes = {key(i)[0] for i in known}
    forgotten = {id(i) for i in known if i.forward.grad_enabled and key(i)[0] in modes and key(i) not in done}
    return [i for i in found if i.backwards or id(i) in forgotten]


def key(i: Iteration) -> tuple[tuple[int, bool], frozenset[int]]:
    return (i.forward.loader_pass, i.forward.training), frozenset(i.forward.examples)


def by_epoch(trial: Trial, found: list[Iteration]) -> list[list[Iteration]]:
    """Group iterations by pass over the loader; if the batches were listed once, by count.

    Where the count does not fit, an epoch ends before an example that it has seen.
    """
    chunks = [found[k : k + trial.batches] for k in range(0, len(found), trial.batches or 1)]
    complete = list(range(trial.examples))
    if len(chunks) == trial.num_epochs and all(
        sorted(e for i in chunk for e in i.forward.examples) == complete for chunk in chunks
    ):
        return chunks  # whoever fetches batches ahead begins a pass before the last one is over
    groups = [list(group) for _, group in groupby(found, key=lambda i: i.forward.loader_pass)]
    as_asked = len(found) == trial.num_epochs * trial.batches != 0 and len(groups) != trial.num_epochs
    if as_asked:
        return chunks
    if len(groups) > 1:
        return groups
    groups, seen = [], set[int]()
    for i in found:
        if not groups or seen & set(i.forward.examples):
            groups.append([])
            seen = set()
        groups[-1].append(i)
        seen |= set(i.forward.examples)
    return groups


def by_batch(found: list[Iteration]) -> list[Iteration]:
    """Return the iterations, those merged that go through a batch again before a step is taken."""
    merged: list[Iteration] = []
    for i in found:
        if merged and not merged[-1].steps and key(merged[-1]) == key(i):
            last = merged.pop()
            i = Iteration(i.forward, last.backwards + i.backwards, i.steps, last.early_steps + i.early_steps)
        merged.append(i)
    return merged


def accumulates(found: list[Iteration]) -> bool:
    """Whether steps are fewer than batches, and gradients stay from one to the next only in between."""
    stepped = [bool(i.steps) for i in found]
    left = [any(b.left_over for b in i.backwards) for i in found]
    return not all(stepped) and any(left) and left[1:] == [not s for s in stepped[:-1]] and not left[0]


def cuts(trial: Trial, found: list[Iteration]) -> bool:
    """Whether batches go through the model in parts, whose gradients add up to one step a batch."""
    steps = sum(len(i.steps) for i in found)
    return accumulates(found) and steps == trial.num_epochs * trial.batches < len(found)
