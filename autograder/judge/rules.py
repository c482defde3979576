"""The rules of the training loop, and the order in which they speak.

Each is a function from a Trial to a Finding or None. Where an earlier one explains a trial, the
later ones that would only report its consequences stay silent.
"""

from .calls import attention_mask, inputs, loss_from_model, other_arguments, train_mode
from .steps import backward, batches, gradients, settings, steps

# In the order of causes.
RULES = (
    inputs, attention_mask, other_arguments, loss_from_model, backward, steps, gradients, batches, train_mode,
    settings,
)  # fmt: skip
# In a loop that stops with an error: what can be its reason, and what is a mistake besides.
STOPPERS = (inputs, attention_mask, loss_from_model, backward)
BESIDES = (gradients, train_mode, settings)
# Once one of these has spoken, only so many rules are left: the others would report its consequences.
CAUSES = {inputs: BESIDES, backward: (train_mode, settings)}
