"""What the collecting room hands to the judging room: plain data, no tensors, no opinions."""

from dataclasses import dataclass, field
from typing import Any, Literal

from .lesson import LEARNING_RATE


@dataclass
class ParameterGroup:
    """One entry of `optimizer.param_groups`, with names in place of tensors."""

    names: list[str]
    foreign: int  # tensors that are no parameter of the lesson's model
    settings: dict[str, Any]  # lr, weight_decay, ... as far as they are numbers or booleans


@dataclass
class Movement:
    """Some of a parameter's values before the first step and after each; see `draws.gradients`."""

    values: list[list[float]]


@dataclass
class OptimizerRecord:
    """The student's `optimizer`, as it stands after TODO #1."""

    kind: str  # class name; of the object itself where it is no optimizer
    is_optimizer: bool
    is_class: bool
    decoupled: bool  # decays weights as AdamW does, apart from the gradient
    groups: list[ParameterGroup]
    trainable: list[str]  # names with requires_grad
    left_by_setup: list[str]  # names that the set-up left trainable
    error: str | None = None  # what stopped its step()
    movements: dict[str, Movement] = field(default_factory=dict)  # by name; empty unless measured


@dataclass
class Forward:
    """One call of a model inside the student's loop."""

    passed_model: bool  # the model that was handed in, and not another or a copy
    examples: list[int]  # which of the probe's examples, -1 for any other
    loader_pass: int  # how many times iteration over the loader has begun so far
    training: bool
    dropout: bool  # all its layers are in training mode too, with the probabilities they came with
    grad_enabled: bool
    input_ids: Literal["right", "missing", "other"]
    attention_mask: Literal["right", "missing", "ones", "other"]
    labels: str  # "right", "missing", "float", "other", or the argument they landed in
    weights_kept: bool  # they are as the last step left them
    some_dropout: bool = False  # at least one of its dropout layers is in training mode
    others: list[str] = field(default_factory=list)  # other arguments that change what the model computes
    loss: float | None = None  # the model's own, or computed from its logits if it gave none


@dataclass
class Backward:
    """Gradients began to flow back into the output of a forward call."""

    forward: int  # position among the trial's forward calls
    of: Literal["loss", "logits"]  # "loss": the model's own; "logits": a loss computed elsewhere
    scale: float  # d(what was differentiated) / d(model's loss)
    left_over: bool  # gradients of earlier batches were still there
    plain: bool = False  # it is the cross-entropy that the model would have computed
    joined: bool = False  # to the one before it: a single backward() went through both
    cleared: list[str] = field(default_factory=list)  # parameters without such, where others had some


@dataclass
class Step:
    """An optimizer took a step."""

    passed_optimizer: bool
    gradients: Literal["some", "zero", "none"]
    norm: float  # of all gradients of the parameters handed over unfrozen
    settings: dict[str, list[Any]]  # those no longer as they were handed in: {"lr": [before, now]}
    own_gradients: bool | None = None  # they are its batch's, clipped at most; None: not looked at
    clipped: bool = False  # they are smaller than backward() left them, or than its batch's
    forgot: bool = False  # what the optimizer remembered of earlier steps was gone


@dataclass
class Trial:
    """One call of the student's `train_tinybert` on a probe."""

    num_epochs: int
    default_epochs: bool  # called without num_epochs, to see the default
    examples: int
    batches: int  # an epoch
    lr: float = LEARNING_RATE  # of the optimizer that was handed over
    events: list[Forward | Backward | Step] = field(default_factory=list)
    error: str | None = None  # "ValueError: ..." if it raised
    line: str = ""  # of its own code on which it did: "5: `loss.backward()`"
    unfinished: bool = False  # it raised NotImplementedError
    used_global: str | None = None  # the notebook's variable it reached for
    returned: list[float | str] | None = None  # entries as floats; a type name where one is no plain number
    returned_type: str = "NoneType"
    printed: str = ""
    weights_kept: bool = True  # at the end, they are as the last step left them
    settings: dict[str, list[Any]] = field(default_factory=dict)  # as a Step's, at the end
    outside: dict[str, list[Any]] = field(default_factory=dict)  # the same of the notebook's own optimizer
    frozen_changed: list[str] = field(default_factory=list)
    flags_changed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # parameters that the model no longer has
    changes: str = ""  # of the weights handed over unfrozen, by all steps: safetensors in base64


@dataclass
class TrainingRecord:
    """The student's `train_tinybert` on the probes of `draws.trials`."""

    is_callable: bool
    kind: str
    trials: list[Trial] = field(default_factory=list)


@dataclass
class RunRecord:
    """The notebook's own run: the loss and the number of examples of every training step."""

    batches: int  # an epoch
    error: str | None = None  # what stopped it: "ValueError: ..."
    has_optimizer: bool = True  # what was handed to the loop is one
    optimizer_failed: bool = False  # the error was raised in its own step()
    settings: dict[str, list[Any]] = field(default_factory=dict)  # of the optimizer, as a Trial's
    frozen_changed: list[str] = field(default_factory=list)
    flags_changed: list[str] = field(default_factory=list)
    in_evaluation: int = 0  # training steps with the model in evaluation mode
    step_losses: list[float] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=list)
    each_epoch: list[Any] = field(default_factory=list)  # what the notebook measured after each


@dataclass
class HistoryRecord:
    """The notebook's `losses`, as plain data, and the run they should come from."""

    losses: list[float | str] | None
    run: RunRecord
