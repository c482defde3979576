"""The lesson's constants, and how its data and its model are loaded."""

import csv
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from datasets import DatasetDict

LEARNING_RATE = 2.5e-3
HIGH, MIDDLE, STANDARD = LEARNING_RATE, 3e-4, 2e-5  # the rates that the lesson compares
WEIGHT_DECAY = 0.01
NUM_EPOCHS = 10
# What each test cell checks, and the points in which the rules of that check count: where its cell is worth
# others, each keeps its share.
CHECKS = {
    "test_parameter_groups": "Parameter groups",
    "test_learning_rate": "Learning rate",
    "test_training_loop": "Training loop",
    "test_loss_history": "Loss history",
}
POINTS = {"Parameter groups": 3, "Learning rate": 2, "Training loop": 6, "Loss history": 3}
TRIED_ON = {  # what a student may not expect of a check
    "Training loop": "This check runs your loop on three small models of its own: the numbers are from there."
}

SPLITS = {"train": 600, "validation": 400, "test": 400}  # reviews

# The set-up freezes the embeddings and the first two encoder layers.
FROZEN = ("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1.")

# Two settings, each a folder or a name on the hub; without them the lesson uses what it carries.
CHECKPOINT = os.environ.get("LESSON_CHECKPOINT")  # e.g. huawei-noah/TinyBERT_General_4L_312D
DATASET = os.environ.get("LESSON_DATASET")  # e.g. stanfordnlp/sst2 or stanfordnlp/imdb
PATIENCE = 3  # seconds for the hub to answer in


class HubUnreachable(OSError):
    """A checkpoint or data set was asked for by name and the hub did not answer."""

    def __init__(self, kind: str, name: str, variable: str) -> None:
        super().__init__(
            f"The {kind} '{name}' could not be loaded from the hub. Check the name and your "
            f"connection, or unset {variable} and restart the kernel to use the embedded {kind}."
        )


def written(rate: float) -> str:
    """Return a learning rate as the lesson writes it, such as 2.5e-3."""
    digits, power = f"{rate:e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def data_folder() -> Path:
    """Return the folder `data/`: beside the package in a clone or zip, inside it in a wheel.

    Raises FileNotFoundError where neither holds the data.
    """
    here = Path(__file__).parent.parent
    for folder in (here / "data", here.parent / "data"):
        if (folder / "tinybert" / "config.json").exists():
            return folder
    raise FileNotFoundError(
        f"No data/tinybert beside {here}: install the lesson again, or restore the folder data/."
    )


def load_reviews() -> "DatasetDict":
    """Return the reviews as a DatasetDict: splits train, validation, test; columns text, label.

    label is 0 for a negative and 1 for a positive review. Raises HubUnreachable where
    LESSON_DATASET names a data set that cannot be fetched.
    """
    from datasets import Dataset, DatasetDict, load_dataset

    if DATASET is None:
        # In memory: load_dataset would leave a copy in the user's cache, shared by all notebooks.
        return DatasetDict({split: Dataset.from_list(read_reviews(split)) for split in SPLITS})
    hub = _fetch("data set", DATASET, "LESSON_DATASET", load_dataset)
    if "sentence" in hub["train"].column_names:
        hub = hub.rename_column("sentence", "text")
    # Both held-out splits come from one: sst2 has no labels for its test split, imdb no validation split.
    train, held_out = (
        hub[split].select_columns(["text", "label"]).shuffle(seed=0)
        for split in ("train", "validation" if "validation" in hub else "test")
    )
    # As small as the embedded data, so that the lesson keeps its pace.
    first, second = SPLITS["validation"], SPLITS["test"]
    return DatasetDict(
        train=train.select(range(SPLITS["train"])),
        validation=held_out.select(range(first)),
        test=held_out.select(range(first, first + second)),
    )


def read_reviews(split: str) -> list[dict[str, Any]]:
    """Return the rows of data/reviews/SPLIT.csv as a list of {"text": str, "label": int}."""
    with open(data_folder() / "reviews" / f"{split}.csv", encoding="utf-8", newline="") as file:
        return [{"text": row["text"], "label": int(row["label"])} for row in csv.DictReader(file)]


def general_sentences() -> list[str]:
    """Return sentences of general English that are in no training data, for measuring retention."""
    return (data_folder() / "tinybert" / "held_out_sentences.txt").read_text().splitlines()


def load_tokenizer() -> Any:
    """Return the tokenizer of the checkpoint, which cuts a text at the model's number of positions.

    Raises HubUnreachable, as load_tinybert does.
    """
    from transformers import AutoConfig, AutoTokenizer

    def load(name: str, **settings: Any) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(name, **settings)
        # The original TinyBERT has no tokenizer_config.json to say where a text ends.
        positions = AutoConfig.from_pretrained(name, **settings).max_position_embeddings
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
        return tokenizer

    return _from_checkpoint(load)


def load_tinybert() -> Any:
    """Return TinyBERT for two classes, in float32, with a classifier that has learnt nothing yet.

    Raises HubUnreachable where LESSON_CHECKPOINT names a model that cannot be fetched.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    # The weights are stored in half precision, which is too coarse to train in.
    load = AutoModelForSequenceClassification.from_pretrained
    return _from_checkpoint(partial(load, num_labels=2, dtype=torch.float32))


def _from_checkpoint(load: Callable[..., Any]) -> Any:
    with _quiet():
        if CHECKPOINT is None:
            return load(str(data_folder() / "tinybert"), local_files_only=True)
        return _fetch("checkpoint", CHECKPOINT, "LESSON_CHECKPOINT", load)


def _fetch(kind: str, name: str, variable: str, load: Callable[[str], Any]) -> Any:
    """Return load(name): of a folder, of the hub, or of what was fetched earlier where the hub is silent."""
    if os.path.isdir(name):
        return load(name)
    answers = _hub_answers()
    with nullcontext() if answers else _offline():
        try:
            return load(name)
        except Exception as error:
            raise HubUnreachable(kind, name, variable) from (error if answers else None)


def _hub_answers() -> bool:
    """Ask the hub once: its libraries would try for up to a minute, with two lines on the screen a try."""
    from huggingface_hub import constants, get_session

    statuses = []

    def ask() -> None:
        try:
            statuses.append(get_session().head(constants.ENDPOINT, timeout=PATIENCE).status_code)
        except Exception:  # of the network, in many classes
            pass

    # In a thread, as looking up the hub's address knows no timeout.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return any(status < 500 for status in statuses)


@contextmanager
def _offline() -> Iterator[None]:
    """Let the hub's libraries read the disk only, as HF_HUB_OFFLINE does if set before their import."""
    import datasets.config
    import huggingface_hub.constants

    with (
        patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", True),
        patch.object(datasets.config, "HF_HUB_OFFLINE", True),
    ):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting the new classifier as missing, which would look like an error."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
