"""The lesson's constants, and how its data and its model are loaded."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import DatasetDict

LEARNING_RATE = 2.5e-3
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

SPLITS = {"train": 600, "validation": 400, "test": 400}  # reviews

# The set-up freezes the embeddings and the first two encoder layers.
FROZEN = ("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1.")

# Two settings for those who are online; without them the lesson uses what it carries.
CHECKPOINT = os.environ.get("LESSON_CHECKPOINT")  # e.g. huawei-noah/TinyBERT_General_4L_312D
DATASET = os.environ.get("LESSON_DATASET")  # e.g. stanfordnlp/sst2


class HubUnreachable(OSError):
    """A checkpoint or data set was asked for by name and the hub did not answer."""

    def __init__(self, kind: str, name: str, variable: str) -> None:
        super().__init__(
            f"The {kind} '{name}' could not be loaded from the hub. Check the name and your "
            f"connection, or unset {variable} and restart the kernel to use the embedded {kind}."
        )


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
    try:
        hub = load_dataset(DATASET)
    except Exception as error:
        raise HubUnreachable("data set", DATASET, "LESSON_DATASET") from error
    if "sentence" in hub["train"].column_names:
        hub = hub.rename_column("sentence", "text")
    hub = hub.select_columns(["text", "label"])
    # As small as the embedded data, so that the lesson keeps its pace; a hub's test
    # split often has no labels, so both held-out splits come from its validation data.
    train = hub["train"].shuffle(seed=0).select(range(SPLITS["train"]))
    held_out = hub["validation"].shuffle(seed=0)
    hub["train"], first = train, SPLITS["validation"]
    hub["validation"] = held_out.select(range(first))
    hub["test"] = held_out.select(range(first, first + SPLITS["test"]))
    return hub


def read_reviews(split: str) -> list[dict[str, Any]]:
    """Return the rows of data/reviews/SPLIT.csv as a list of {"text": str, "label": int}."""
    with open(data_folder() / "reviews" / f"{split}.csv", encoding="utf-8", newline="") as file:
        return [{"text": row["text"], "label": int(row["label"])} for row in csv.DictReader(file)]


def general_sentences() -> list[str]:
    """Return sentences of general English that are in no training data, for measuring retention."""
    return (data_folder() / "tinybert" / "held_out_sentences.txt").read_text().splitlines()


def load_tokenizer() -> Any:
    """Return the tokenizer of the checkpoint. Raises HubUnreachable, as load_tinybert does."""
    from transformers import AutoTokenizer

    return _from_pretrained(AutoTokenizer)


def load_tinybert() -> Any:
    """Return TinyBERT for two classes, in float32, with a classifier that has learnt nothing yet.

    Raises HubUnreachable where LESSON_CHECKPOINT names a model that cannot be fetched.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    # The weights are stored in half precision, which is too coarse to train in.
    return _from_pretrained(AutoModelForSequenceClassification, num_labels=2, dtype=torch.float32)


def _from_pretrained(factory: Any, **settings: Any) -> Any:
    with _quiet():
        if CHECKPOINT is None:
            return factory.from_pretrained(data_folder() / "tinybert", local_files_only=True, **settings)
        try:
            return factory.from_pretrained(CHECKPOINT, **settings)
        except (OSError, ValueError) as error:
            raise HubUnreachable("checkpoint", CHECKPOINT, "LESSON_CHECKPOINT") from error


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
