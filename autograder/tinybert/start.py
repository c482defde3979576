"""What every run of the lesson starts from: the reviews in batches, and the model as pre-training left it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, SubsetRandomSampler

from .lesson import FROZEN, load_tinybert

# Where the parameters of each part of the model are: their names begin so.
PARTS = {
    "embeddings": "bert.embeddings.",
    **{f"layer {k}": f"bert.encoder.layer.{k}." for k in range(4)},
    "pooler": "bert.pooler.",
    "classifier": "classifier.",
}
SEED = 3  # of the notebook
Batch = tuple[Tensor, Tensor, Tensor]  # token ids and mask, (reviews, tokens) each, and labels, (reviews,)


def collate(rows: Sequence[dict[str, Any]], tokenizer: Any) -> Batch:
    """Return reviews as token ids, attention mask and labels, padded to the longest of them."""
    encoded = tokenizer([row["text"] for row in rows], padding=True, truncation=True, return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"], torch.tensor([row["label"] for row in rows])


def batches(reviews: Any, tokenizer: Any, size: int = 64) -> list[Batch]:
    """Return all reviews of a split, for measuring; those of similar length stand together."""
    rows = sorted(reviews, key=lambda row: len(row["text"]))
    return [collate(rows[k : k + size], tokenizer) for k in range(0, len(rows), size)]


def shuffled_batches(reviews: Any, tokenizer: Any, size: int) -> DataLoader[Batch]:
    """Return a loader that gives the batches of a split in another order in each epoch.

    Reviews of similar length share a batch, so that little of it is padding.
    """
    by_length = sorted(range(len(reviews)), key=lambda i: len(reviews[i]["text"]))
    groups = [by_length[k : k + size] for k in range(0, len(by_length), size)]
    return DataLoader(
        reviews,
        batch_sampler=SubsetRandomSampler(groups),
        collate_fn=lambda rows: collate(rows, tokenizer),
    )


def fresh_model(seed: int = SEED) -> Any:
    """Return the pre-trained TinyBERT, its lower half frozen, with a classifier drawn from the seed."""
    torch.manual_seed(seed)
    model = load_tinybert()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith(FROZEN)
    return model


def redraw(model: Any) -> None:
    """Draw the two upper layers and the pooler anew, as BERT draws them before any pre-training."""
    for layer in (*model.bert.encoder.layer[2:], model.bert.pooler):
        for module in layer.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=model.config.initializer_range)
                torch.nn.init.zeros_(module.bias)
            elif isinstance(module, torch.nn.LayerNorm):
                module.reset_parameters()
