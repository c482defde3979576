"""Do on a fresh probe what a trial's events describe: is that how its numbers came about?

Sent to the reference kernel as text: where students' code runs, it would be half an answer.
"""

import math

import torch

from autograder.collect.probe import Probe
from autograder.collect.recorder import Recorder
from autograder.collect.training import new_trial, one_thread
from autograder.records import Forward, Step, Trial

MOST_EVENTS = 5000
LEAST = 0.01  # of its gradients' norm that clipping may leave


def rerun(trial: Trial, plan) -> Trial:
    """Return the Trial of a loop that makes the calls which `trial` lists; no student's code runs.

    It stops early at what it cannot do: calls of another model, steps of another optimizer.
    """
    done, outputs = new_trial(plan), []
    with torch.random.fork_rng(), one_thread(), Recorder(probe := Probe(plan)) as recorder:
        settings = {key: value for key, value in probe.optimizer.param_groups[0].items() if key != "params"}
        for event in trial.events[:MOST_EVENTS]:
            try:
                match event:
                    case Forward(passed_model=True):
                        outputs.append(forward(probe, event))
                    case Step(passed_optimizer=True):
                        changed = {key: now for key, (_, now) in event.settings.items()}
                        probe.optimizer.param_groups[0].update(settings | changed)
                        own = step(probe, event)
                        recorder.events[-1].own_gradients = own
                    case Forward() | Step():
                        break
                    case _:
                        backward(probe, event, outputs[event.forward])
            except Exception:  # the trial's own loop stopped here too, or its evidence is made up
                break
        done.events, done.weights = recorder.events, probe.packed_weights()
    return done


def forward(probe, event):
    """Call the model with what reached it; return its loss, or None, and its logits."""
    examples = [(probe.rows[i], probe.labels[i]) for i in event.examples if i >= 0]
    if event.given is None:
        given = dict(zip(("input_ids", "attention_mask", "labels"), probe.collate(examples)))
    else:
        given = {name: torch.tensor(value) for name, value in event.given.items()}
    probe.model.train(event.training and event.dropout)
    probe.loader.passes, probe.loader.came = event.loader_pass, {}
    with torch.set_grad_enabled(event.grad_enabled):
        output = probe.model(**given)
    return output.loss, output.logits


def backward(probe, event, output):
    """Let gradients flow back into a forward call, from its loss or as they reached its logits."""
    if not event.left_over:
        clear(probe)
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
    own = [p.grad for _, p in probe.moving if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(own)) if own else 0.0
    if not (math.isfinite(event.norm) and event.largest >= 0 and event.norm >= LEAST * norm):
        raise ValueError("no clipping leaves such gradients")
    clipped = event.norm < 0.999 * norm
    if clipped and event.largest < 0.999 * max(float(g.abs().max()) for g in own):
        smaller = [g.clamp(-event.largest, event.largest) for g in own]
        if abs(float(torch.nn.utils.get_total_norm(smaller)) - event.norm) > 1e-3 * event.norm:
            smaller = [g * (event.norm / norm) for g in own]
        for gradient, other in zip(own, smaller):
            gradient.copy_(other)
    probe.optimizer.step()
    return clipped or event.norm <= 1.02 * norm + 1e-6


def clear(probe):
    for _, parameter in probe.moving:
        parameter.grad = None
