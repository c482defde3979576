"""Do on a fresh probe what a trial's events describe: is that how its numbers came about?

Sent to the reference kernel as text: where students' code runs, it would be half an answer.
"""

import math

import torch

from autograder.collect.optimizer import plain_settings
from autograder.collect.probe import Probe
from autograder.collect.recorder import Recorder
from autograder.collect.training import new_trial, one_thread
from autograder.records import Forward, Step, Trial

MOST_EVENTS = 5000
LEAST = 0.5  # of what clipping leaves of all gradients, that it leaves of one parameter's, or AdamW's eps


def rerun(trial: Trial, plan) -> Trial:
    """Return the Trial of a loop that makes the calls which `trial` lists; no student's code runs.

    It stops early at what it cannot do. Calls of other models are only noted: they have no part in
    what this one learns.
    """
    done, outputs = new_trial(plan), []
    with torch.random.fork_rng(), one_thread(), Recorder(probe := Probe(plan)) as recorder:
        settings = plain_settings(probe.optimizer.param_groups[0])
        for event in trial.events[:MOST_EVENTS]:
            try:
                match event:
                    case Forward(passed_model=True):
                        outputs.append(forward(probe, event, recorder.dropout))
                    case Step(passed_optimizer=True):
                        changed = settings | {key: now for key, (_, now) in event.settings.items()}
                        betas = changed.pop("beta1"), changed.pop("beta2")
                        probe.optimizer.param_groups[0].update(changed, betas=betas)
                        if event.forgot:
                            probe.optimizer.state.clear()
                        own = step(probe, event)
                        recorder.events[-1].own_gradients = own
                    case Forward() | Step():
                        recorder.events.append(event)
                        outputs += [None] * isinstance(event, Forward)
                    case _ if outputs[event.forward] is None:
                        recorder.events.append(event)
                    case _:
                        backward(probe, event, outputs[event.forward])
                        if event.joined:
                            recorder.events[-1].joined, recorder.events[-1].left_over = True, False
            except Exception:  # the trial's own loop stopped here too, or its evidence is made up
                break
        done.events, done.changes = recorder.events, probe.packed_changes()
    return done


def forward(probe, event, dropout):
    """Call the model with what reached it; return its loss, or None, and its logits.

    dropout: {name of each dropout layer: its probability as handed over}.
    """
    examples = [(probe.rows[i], probe.labels[i]) for i in event.examples if i >= 0]
    if event.given is None:
        given = dict(zip(("input_ids", "attention_mask", "labels"), probe.collate(examples)))
    else:
        given = {name: torch.tensor(value) for name, value in event.given.items()}
    probe.model.train(event.training or event.dropouts is not None)
    probe.model.training = event.training
    if not all(0 <= p <= 0.9 for p in event.dropouts or ()):
        raise ValueError("no dropout leaves something to learn from")
    for name, p in zip(dropout, event.dropouts or dropout.values()):
        probe.model.get_submodule(name).p = p
    probe.loader.passes, probe.loader.came = event.loader_pass, {}
    with torch.set_grad_enabled(event.grad_enabled):
        output = probe.model(**given)
    return output.loss, output.logits


def backward(probe, event, output):
    """Let gradients flow back into a forward call, from its loss or as they reached its logits."""
    if not event.joined:
        clear(probe, event.cleared if event.left_over else None)
    loss, logits = output
    if event.of == "loss":
        loss.backward(torch.tensor(event.scale), retain_graph=True)
    else:
        logits.backward(torch.tensor(event.gradient), retain_graph=True)


def step(probe, event):
    """Take a step, with gradients cleared or clipped as those of the trial were.

    Return whether they are the batch's own, clipped at most.
    """
    if event.gradients != "some":
        clear(probe)
    if event.gradients == "zero":
        for _, parameter in probe.moving:
            parameter.grad = torch.zeros_like(parameter)
    found = [parameter.grad for _, parameter in probe.moving]
    norms = [0.0 if gradient is None else float(gradient.norm()) for gradient in found]
    norm = math.hypot(*norms)
    values = sum(parameter.numel() for _, parameter in probe.moving)
    # With less than its eps left, AdamW takes no steps: anything would look like the start.
    eps = probe.optimizer.param_groups[0]["eps"]
    least = min(0.999 * norm, eps * math.sqrt(values))
    if not (least <= event.norm < math.inf and len(event.norms) == len(event.largest) == len(found)):
        raise ValueError("no clipping leaves such gradients")
    own = True
    for gradient, before, *left in zip(found, norms, event.norms, event.largest):
        # The others are rounding errors around zero.
        if before > 1e-6 * norm:
            share = min(LEAST * event.norm / norm, eps * math.sqrt(gradient.numel()) / before)
            own = clip(gradient, before, *left, least=share) and own
    probe.optimizer.step()
    return own


def clip(gradient, before, norm, largest, least):
    """Clip a gradient, whose norm was `before`, to the norm and the largest value left of it, in place.

    By norm, by value, or both in any order: it is a share of the gradient, with its values cut at
    the largest. Return False, with nothing clipped, if that share is less than `least` or more than all.
    """
    if not (largest >= 0 and norm >= least * before):
        return False
    if norm >= 0.999 * before:
        return norm <= 1.1 * before + 1e-6
    share, most = norm / before, 1.0  # without a cut, and at the most
    if largest < 0.999 * share * float(gradient.abs().max()):
        for _ in range(20):
            middle = (share + most) / 2
            cut = (middle * gradient).clamp(-largest, largest)
            share, most = (middle, most) if float(cut.norm()) < norm else (share, middle)
    gradient.copy_((share * gradient).clamp(-largest, largest))
    return True


def clear(probe, names=None):
    """Clear the gradients of the parameters that are named, or of all."""
    for name, parameter in probe.moving:
        if names is None or name in names:
            parameter.grad = None
