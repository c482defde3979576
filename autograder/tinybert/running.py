"""Run the notebook's experiments: each from the same start, with its weights kept after every epoch."""

from collections.abc import Callable
from contextlib import redirect_stdout
from copy import copy, deepcopy
from dataclasses import dataclass, field
from io import StringIO
from math import nan
from typing import Any
from warnings import warn

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers.modeling_outputs import SequenceClassifierOutput

from . import rulers
from .collect import watch
from .collect.optimizer import copied
from .lesson import FROZEN
from .records import RunRecord
from .start import Batch

Train = Callable[..., Any]  # the student's train_tinybert
FROZEN_LAYERS = sum(".layer." in name for name in FROZEN)
RANGE = 1e-6, 1e-1, 120  # of a range test: first rate, last rate, steps


class LowerHalf:
    """What the frozen layers make of batches: worked out once, as it is the same in every epoch and run."""

    def __init__(self, pretrained: Any, batches: list[Batch]) -> None:
        self.pretrained, self.batches = pretrained, batches
        self.states: dict[int, Tensor] = {}  # (reviews, tokens, width) of each batch, by id of its input_ids
        self.frozen = {n: p for n, p in pretrained.named_parameters() if n.startswith(FROZEN)}

    def above(self, model: Any) -> Any:
        """Return what answers the batches as `model` does, in half the time; `model` if it is not frozen."""
        own = dict(model.named_parameters())
        if not all(name in own and identical(own[name], p) for name, p in self.frozen.items()):
            return model
        if not self.states:
            # All at once, as it may be interrupted, and exactly, as it may be called in a loop that is not.
            with rulers.evaluating(self.pretrained), torch.autocast("cpu", enabled=False):
                self.states = {
                    id(input_ids): self.pretrained.bert(
                        input_ids, attention_mask, output_hidden_states=True
                    ).hidden_states[FROZEN_LAYERS]
                    for input_ids, attention_mask, _ in self.batches
                }
        return UpperHalf(model, self.states)


def identical(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are alike in type, place and every value."""
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


class Known(torch.nn.Module):
    """Stands in for the lower half."""

    def __init__(self, states: dict[int, Tensor]) -> None:
        super().__init__()
        self.states = states

    def forward(self, input_ids: Tensor, **_: object) -> Tensor:
        return self.states[id(input_ids)]


class UpperHalf(torch.nn.Module):
    """The layers of a model that learn, and its classifier, on top of what is known."""

    def __init__(self, model: Any, states: dict[int, Tensor]) -> None:
        super().__init__()
        # Copies that share the parameters: the model itself stays as it is.
        self.bert, encoder = copy(model.bert), copy(model.bert.encoder)
        encoder._modules = {"layer": encoder.layer[FROZEN_LAYERS:]}
        self.bert._modules = {**self.bert._modules, "embeddings": Known(states), "encoder": encoder}
        self.classifier, self.training = model.classifier, model.training

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: object) -> SequenceClassifierOutput:
        pooled = self.bert(input_ids, attention_mask).pooler_output
        return SequenceClassifierOutput(logits=self.classifier(pooled))


@dataclass
class Diary:
    """What is kept of a run, epoch by epoch; `weights` begins with those before the first step."""

    model: Any
    lower: LowerHalf
    weights: list[dict[str, Tensor]] = field(default_factory=list)  # of what is not frozen, by name

    def __post_init__(self) -> None:
        self.keep()

    def keep(self) -> None:
        named = self.model.named_parameters()
        self.weights.append({name: p.detach().clone() for name, p in named if p.requires_grad})

    def write(self) -> tuple[float, float]:
        """Keep the weights; return loss and accuracy on the validation reviews, NaN where that fails."""
        self.keep()
        try:
            return rulers.loss_and_accuracy(self.lower.above(self.model), self.lower.batches)
        except Exception as error:  # what is measured beside a student's run does not stop it
            warn(f"Validation could not be measured: {type(error).__name__}: {error}", stacklevel=2)
            return nan, nan

    def model_after(self, epoch: int) -> Any:
        """Return a copy of the model as it was after an epoch; 0: before the first."""
        twin = deepcopy(self.model)
        twin.load_state_dict(self.weights[epoch], strict=False)
        return twin

    def answers_after(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the logits of the validation reviews, (reviews, 2), after an epoch, and their labels."""
        return rulers.answers(self.lower.above(self.model_after(epoch)), self.lower.batches)


@dataclass
class Result:
    """A finished run: the trained model, the record of its steps, its diary."""

    model: Any
    run: RunRecord
    diary: Diary

    @property
    def losses(self) -> list[float]:
        """The mean training loss of each epoch."""
        size, steps = self.run.batches, self.run.step_losses
        return [sum(steps[k : k + size]) / size for k in range(0, len(steps) - size + 1, size)]

    @property
    def validation(self) -> list[tuple[float, float]]:
        """Loss and accuracy on the validation reviews after each epoch."""
        return self.run.each_epoch


class Lab:
    """What the notebook's experiments share: weights to start from, reviews, epochs and the seed."""

    def __init__(
        self, model: Any, train_loader: DataLoader[Batch], validation: list[Batch], epochs: int, seed: int
    ) -> None:
        self.pretrained = deepcopy(model)
        self.train_loader, self.validation = train_loader, validation
        self.lower = LowerHalf(self.pretrained, validation)
        self.epochs, self.seed = epochs, seed
        self.met: Any = None  # the optimizer that was met last
        self.kept: Any = None  # a copy of it, from before its first step here

    def start_again(self, model: Any, optimizer: Any) -> Diary:
        """Give `model` its pre-trained weights and `optimizer` what TODO #1 gave it; set the seed."""
        restore(model, self.pretrained)
        if isinstance(optimizer, Optimizer):
            same = {id(p): p for p in model.parameters()}
            if optimizer is self.met:
                vars(optimizer).update(vars(copy_of(self.kept, same)))
            else:
                self.met, self.kept = optimizer, copy_of(optimizer, same)
        torch.manual_seed(self.seed)
        return Diary(model, self.lower)

    def twins(self, model: Any, optimizer: Any, rate: float) -> tuple[Any, Any]:
        """Return copies of both as they are before a run, the optimizer at another rate."""
        twin = deepcopy(model)
        restore(twin, self.pretrained)
        memo = dict(zip(map(id, model.parameters()), twin.parameters()))
        stepping = copy_of(self.kept if optimizer is self.met else optimizer, memo)
        for group in stepping.param_groups:
            group["lr"] = rate
        return twin, stepping

    def experiment(self, train: Train, model: Any, optimizer: Any) -> Result:
        """Train `model` quietly with the student's function, from the seed on."""
        diary = Diary(model, self.lower)
        torch.manual_seed(self.seed)
        with redirect_stdout(StringIO()):
            with watch(model, self.train_loader, optimizer, self.epochs, each_epoch=diary.write) as run:
                train(model, self.train_loader, optimizer, num_epochs=self.epochs)
        return Result(model, run, diary)

    def baseline(self, train: Train, vocabulary: int) -> Result:
        """Train a bag of embeddings from scratch."""
        torch.manual_seed(self.seed)
        bag = BagOfEmbeddings(vocabulary)
        return self.experiment(train, bag, torch.optim.Adam(bag.parameters(), lr=5e-3))

    def range_test(self, model: Any, optimizer: Any) -> tuple[list[float], list[float]]:
        """Return the rates and the losses of a short run whose rate grows from step to step."""
        low, high, count = RANGE
        twin, stepping = self.twins(model, optimizer, low)
        torch.manual_seed(self.seed)
        twin.train()
        rates: list[float] = []
        losses: list[float] = []
        while len(rates) < count:
            for input_ids, attention_mask, labels in self.train_loader:
                rates.append(low * (high / low) ** (len(rates) / (count - 1)))
                for group in stepping.param_groups:
                    group["lr"] = rates[-1]
                stepping.zero_grad()
                loss = twin(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss
                loss.backward()
                stepping.step()
                losses.append(loss.item())
                if len(rates) == count:
                    break
        return rates, losses


def copy_of(optimizer: Any, memo: dict[int, Any]) -> Any:
    """Return a copy of an optimizer and of what it remembers. memo: {id of a parameter: the copy's own}."""
    twin = copied(optimizer, memo)
    twin.state = deepcopy(optimizer.state, memo)
    return twin


def restore(model: Any, pretrained: Any) -> None:
    """Give a model's parameters the values of those of the same name in `pretrained`."""
    before = dict(pretrained.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in before and before[name].shape == parameter.shape:
                parameter.copy_(before[name])
            parameter.grad = None


class BagOfEmbeddings(torch.nn.Module):
    """The baseline: the mean of learned word vectors, and a linear classifier on top."""

    device = torch.device("cpu")

    def __init__(self, vocabulary: int, width: int = 64) -> None:
        super().__init__()
        self.embeddings = torch.nn.Embedding(vocabulary, width)
        self.classifier = torch.nn.Linear(width, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, return_dict: bool = True
    ) -> Any:
        mask = attention_mask[:, :, None]
        mean = (self.embeddings(input_ids) * mask).sum(1) / mask.sum(1)
        logits = self.classifier(mean)
        output = SequenceClassifierOutput(
            loss=torch.nn.functional.cross_entropy(logits, labels), logits=logits
        )
        return output if return_dict else output.to_tuple()
