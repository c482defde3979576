"""The rules of the training loop, and the order in which they speak.

Each sees a Trial and its iterations. Where an earlier one explains a trial, the later ones that would
only report its consequences stay silent.
"""

from collections.abc import Iterable

from ...rule import Finding, Rule
from ..records import Trial
from .calls import arguments, attention_mask, inputs, labels, loss_from_model, other_arguments, train_mode
from .iterations import Iteration
from .steps import backward, batches, frozen_kept, own_optimizer, settings_kept, steps, zero_grad

# In the order of causes.
RULES = (
    arguments, inputs, attention_mask, other_arguments, labels, loss_from_model, backward, own_optimizer,
    steps, zero_grad, batches, train_mode, frozen_kept, settings_kept,
)  # fmt: skip
# In a loop that stops with an error: what can be its reason, and what is a mistake besides.
STOPPERS = (arguments, inputs, attention_mask, labels, loss_from_model, backward)
BESIDES = (zero_grad, train_mode, frozen_kept, settings_kept)
# Once one of these has spoken, these others would report its consequences.
SILENCES = {
    arguments: {*RULES} - {*BESIDES},
    inputs: {*RULES} - {*BESIDES},
    labels: {loss_from_model},
    backward: {*RULES} - {train_mode, frozen_kept, settings_kept},
    own_optimizer: {steps},
    frozen_kept: {settings_kept},
}


def broken(rules: Iterable[Rule], trial: Trial, found: list[Iteration]) -> dict[str, Finding]:
    """Return the Findings, by name, of those rules that a trial breaks, in their order."""
    findings, silent = {}, set[Rule]()
    for rule in rules:
        if rule not in silent and (finding := rule(trial, found)):
            findings[rule.name] = finding
            silent |= SILENCES.get(rule, set())
    return findings
