"""Read a trial's events as training iterations and epochs."""

from dataclasses import dataclass, field

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
    for event in trial.events:
        match event:
            case Forward():
                forwards.append(Iteration(event))
                if event.passed_model:
                    found.append(forwards[-1])
            case Backward():
                owner = forwards[event.forward]
                owner.early_steps, owner.steps = len(owner.steps), []
                owner.backwards.append(event)
            case Step() if forwards:
                # What was evaluated since, without gradients, has no part in a step.
                learning = [i for i in forwards if i.forward.grad_enabled] or forwards
                learning[-1].steps.append(event)
    known = [i for i in found if i.forward.examples and min(i.forward.examples) >= 0]
    differentiated = [i for i in found if i.backwards]
    return differentiated or known or found


def by_epoch(trial, found):
    """Group iterations by pass over the loader, or by count if the batches were listed once."""
    passes = {}
    for i in found:
        passes.setdefault(i.forward.loader_pass, []).append(i)
    groups = list(passes.values())
    if len(groups) == 1 and len(found) > trial.batches:
        return [found[k : k + trial.batches] for k in range(0, len(found), trial.batches)]
    return groups
