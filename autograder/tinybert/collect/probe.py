"""A tiny BERT with data and an optimizer of its own, for a training loop to be tried on."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import safetensors.torch
import torch
from torch.utils.data import DataLoader, SubsetRandomSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter
from transformers import BertConfig, BertForSequenceClassification

from ..draws import Plan
from ..lesson import FROZEN

Row = tuple[list[int], int]  # tokens, label
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # input_ids, attention_mask, labels

# As many tokens and positions as any BERT has, so that a loop which also runs the
# notebook's validation_loader through the probe finds nothing out of range.
SIZES: dict[str, Any] = dict(
    vocab_size=30522,
    hidden_size=12,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=512,
    attention_probs_dropout_prob=0.0,  # it would draw from the process's random state
)
LAST_TOKEN = 102  # [SEP]: a mask is 1 there too
FIRST_TOKEN = 2000  # example i begins with this token + i, so that it can be told from any other
LONGEST = 60  # tokens, about as many as the lesson's longest review has
GROWTH = 0.6  # of what dropout does, in every step of the trial that runs for the default of epochs


class ProbeLoader(DataLoader[Row]):
    """A DataLoader that counts how often it is gone through, and in which pass an example came."""

    passes = 0
    came: dict[int, int] = {}  # {first token: pass}

    def __iter__(self) -> "Pass":
        return Pass(self, super().__iter__())


class Pass:
    """One pass through a ProbeLoader; it begins with the first batch."""

    def __init__(self, loader: ProbeLoader, batches: _BaseDataLoaderIter) -> None:
        self.loader, self.batches = loader, batches
        self.number: int | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __len__(self) -> int:
        return len(self.batches)

    def __next__(self) -> Batch:
        if self.number is None:
            self.loader.passes += 1
            self.number, self.loader.came = self.loader.passes, dict(self.loader.came)
        batch: Batch = next(self.batches)
        self.loader.came |= dict.fromkeys(batch[0][:, 0].tolist(), self.number)
        return batch


class Dropout(torch.nn.Dropout):
    """Dropout that depends on the probe's seed and the steps so far, and on nothing else.

    So two loops that take the same steps have the same losses, whatever else they draw or evaluate.
    In a long trial it grows harsher, and the loss rises as the lesson's does: a loop that stops,
    slows down or goes back to its best weights then shows it.
    """

    def __init__(self, p: float, probe: "Probe", number: int) -> None:
        super().__init__(p)
        self.probe, self.number = probe, number

    def __deepcopy__(self, memo: dict[int, Any]) -> "Dropout":
        return Dropout(self.p, self.probe, self.number).train(self.training)

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.nn.Dropout, (self.p,)  # saved with a model, it is one like any other

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return values
        seed = (self.probe.plan.seed * 10_007 + self.probe.steps) * 1009 + self.number
        draw = torch.Generator().manual_seed(seed)
        # Token by token, so that more padding behind them changes nothing.
        shape = values.transpose(0, 1).shape if values.dim() > 2 else values.shape
        drawn = torch.rand(shape, generator=draw, dtype=torch.float32) >= self.p
        kept = drawn.transpose(0, 1) if values.dim() > 2 else drawn
        growth = 1 + GROWTH * self.probe.steps * self.probe.plan.default_epochs
        factor = 1 + growth * (kept.float().to(values.device) / (1 - self.p) - 1)
        return (values * factor).to(values.dtype)


class Probe:
    """A fresh model, train_loader and optimizer; a Recorder watches them.

    The model is handed over in evaluation mode, as `from_pretrained` does it.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.steps = plan, 0
        torch.manual_seed(plan.seed)
        with default_dtype(torch.float32):  # as the notebook's model is, whatever is the default by now
            self.model = BertForSequenceClassification(BertConfig(**SIZES, num_hidden_layers=plan.layers))
        for number, (name, module) in enumerate(list(self.model.named_modules())):
            if isinstance(module, torch.nn.Dropout):
                self.model.set_submodule(name, Dropout(module.p, self, number))
        # Wide enough apart that the batches of an epoch have clearly different losses.
        torch.nn.init.normal_(self.model.classifier.weight, std=1.0)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad = not name.startswith(FROZEN)
        self.model.eval()
        self.parameters = dict(self.model.named_parameters())  # once: it takes a model long to list them
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.flags = {name: p.requires_grad for name, p in self.parameters.items()}
        self.moving = [(name, p) for name, p in self.parameters.items() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [p for _, p in self.moving],
            lr=plan.lr,
            weight_decay=plan.weight_decay,
            foreach=True,  # fused would be faster, but takes gradients of a GradScaler otherwise
            eps=1e-4,  # or rounding errors, where a gradient should be zero, would become steps
        )
        # Lengths differ, so that batches have padding and their masks matter.
        order, spread = torch.randperm(plan.examples).tolist(), min(1, LONGEST / plan.examples)
        self.rows = [
            [FIRST_TOKEN + i, *torch.randint(1000, 1999, (1 + int(order[i] * spread),)).tolist(), LAST_TOKEN]
            for i in range(plan.examples)
        ]
        self.labels = torch.randint(0, 2, (plan.examples,)).tolist()
        # As the notebook's: fixed batches in random order, so that its `batch_size` is None.
        numbers = list(range(plan.examples))
        batches = [numbers[k : k + plan.batch_size] for k in range(0, plan.examples, plan.batch_size)]
        draw = torch.Generator().manual_seed(plan.seed)
        self.loader = ProbeLoader(
            list(zip(self.rows, self.labels)),  # a list is data too
            batch_sampler=SubsetRandomSampler(batches, generator=draw),
            collate_fn=self.collate,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Probe":
        return self  # a copy of the model belongs to the same probe

    @staticmethod
    def collate(batch: list[Row]) -> Batch:
        """Pad rows to three tensors, as the notebook's loader does."""
        width = max(len(row) for row, _ in batch)
        ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
        return ids, (ids != 0).long(), torch.tensor([label for _, label in batch])

    def identify(self, ids: Any) -> list[int]:
        """Return the example number of each row of `ids` (batch, tokens); -1 if it is none."""
        if not isinstance(ids, torch.Tensor) or ids.dim() != 2:
            return []
        numbers = [int(first) - FIRST_TOKEN for first in ids[:, 0]]
        return [
            i if 0 <= i < len(self.rows) and ids[k, 1] == self.rows[i][1] else -1
            for k, i in enumerate(numbers)
        ]

    def pass_of(self, examples: list[int]) -> int:
        """Return the pass over the loader in which examples came; the last one for any others."""
        last = self.loader.passes
        return self.loader.came.get(examples[0] + FIRST_TOKEN, last) if examples else last

    def packed_changes(self, now: Mapping[str, torch.Tensor] | None = None) -> str:
        """Return how the weights handed over unfrozen have changed, as safetensors in base64.

        now: the model's own parameters by default.
        """
        now = now or dict(self.model.named_parameters())
        changes = {n: (now[n].detach().cpu() - self.start[n]).float() for n, _ in self.moving if n in now}
        return b64encode(safetensors.torch.save(changes)).decode()


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Have tensors be made in another precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
