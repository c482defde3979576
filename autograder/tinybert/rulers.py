"""What the lesson measures, each with one ruler: on plain arrays wherever that is possible."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .start import PARTS, Batch

Array = NDArray[np.float64]


@dataclass
class View:
    """How a model sees sentences: an array for the output of the embeddings, then one for each layer's."""

    tokens: list[Array]  # (tokens of all sentences, width) each, padding left out
    sentences: list[Array]  # (sentences, width) each: the mean over a sentence's tokens


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Switch dropout and gradients off for a while."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def answers(model: Any, batches: Iterable[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the model's logits of reviews, (reviews, 2), and their labels, (reviews,)."""
    with evaluating(model):
        logits = [
            model(input_ids=input_ids, attention_mask=attention_mask, labels=labels).logits
            for input_ids, attention_mask, labels in batches
        ]
    return torch.cat(logits), torch.cat([labels for _, _, labels in batches])


def loss_and_accuracy(model: Any, batches: Iterable[Batch]) -> tuple[float, float]:
    """Return the mean loss of reviews and the share whose label the model gets right."""
    logits, labels = answers(model, batches)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    return loss.item(), float((logits.argmax(-1) == labels).float().mean())


def positive(logits: torch.Tensor) -> Array:
    """Return P(positive) of each review, (reviews,)."""
    return np.asarray(logits.softmax(-1)[:, 1].double().numpy())


def positive_of(model: Any, tokenizer: Any, sentences: Sequence[str]) -> Array:
    """Return P(positive) of each sentence, (sentences,)."""
    encoded = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
    with evaluating(model):
        logits = model(**encoded, return_dict=True).logits
    return positive(logits)


def view(model: Any, tokenizer: Any, sentences: Sequence[str]) -> View:
    """Return how `model` sees `sentences`."""
    encoded = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
    mask = encoded["attention_mask"].bool()
    with evaluating(model):
        states = [
            state.double()
            for state in model(**encoded, output_hidden_states=True, return_dict=True).hidden_states
        ]
    means = [(state * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True) for state in states]
    return View([state[mask].numpy() for state in states], [mean.numpy() for mean in means])


def one_direction(x: Array) -> float:
    """Return the share of the vectors' variance that lies in one direction: 1 if they are all on one line.

    x: (vectors, width). 1 / width if no direction is preferred. NaN if all vectors are the same.
    """
    variances = np.linalg.eigvalsh(np.cov(x.T))
    return float(variances[-1] / variances.sum())


def mean_cosine(x: Array) -> float:
    """Return the mean cosine between two different vectors of x, (vectors, width): 1 if all point one way."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(((unit @ unit.T).sum() - len(x)) / (len(x) * (len(x) - 1)))


def nearest(x: Array) -> NDArray[np.intp]:
    """Return the position of each vector's nearest neighbour by cosine, itself left out, (vectors,)."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.asarray(cosines.argmax(1), np.intp)


def neighbours_kept(before: Array, after: Array) -> float:
    """Return the share of vectors whose nearest neighbour is still the same."""
    return float((nearest(before) == nearest(after)).mean())


def linear_cka(x: Array, y: Array) -> float:
    """Return the linear centred kernel alignment of two models' vectors of the same tokens: 1 if alike."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def plane(x: Array) -> tuple[Array, Array]:
    """Return the centre of x, (width,), and the two directions of its largest variance, (width, 2)."""
    centre = x.mean(0)
    directions = np.linalg.svd(x - centre, full_matrices=False)[2][:2].T
    return centre, directions


def weights(model: Any, part: str) -> dict[str, torch.Tensor]:
    """Return the weight matrices of one of the PARTS; biases and LayerNorm are left out."""
    named = model.named_parameters()
    return {name: p.detach() for name, p in named if name.startswith(PARTS[part]) and p.dim() > 1}


def change(before: Any, after: Any, part: str) -> float:
    """Return the norm of the change of a part's weight matrices over the norm of what they were before."""
    old, new = weights(before, part), weights(after, part)
    moved = sum(float(((new[name] - old[name]) ** 2).sum()) for name in old)
    return float((moved / sum(float((w**2).sum()) for w in old.values())) ** 0.5)


def step_to_weight(
    model: Any, optimizer: torch.optim.Optimizer, batch: Batch, rate: float
) -> dict[str, float]:
    """Return how large one step of `optimizer` at `rate` is beside the weights of each part.

    Both stay as they are: copies take the step.
    """
    copied, stepping = deepcopy((model, optimizer))
    for group in stepping.param_groups:
        group["lr"] = rate
    stepping.zero_grad()
    input_ids, attention_mask, labels = batch
    copied(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss.backward()
    stepping.step()
    return {part: change(model, copied, part) for part in PARTS}
