"""Another model and other data than the embedded ones: folders made like the hub's, and a hub out of reach."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertForPreTraining

from autograder.tinybert import lesson

# A hub that answers nothing: nobody listens at this port.
CLOSED = "http://127.0.0.1:9"
WORDS = "the film was a good bad long dull bright story with actors and music".split()

ONE_STEP = """
import json
from autograder.tinybert.lesson import load_reviews, load_tinybert, load_tokenizer
import torch

reviews, tokenizer, model = load_reviews(), load_tokenizer(), load_tinybert()
rows = sorted(reviews["train"], key=lambda row: -len(row["text"]))[:4]
batch = tokenizer([row["text"] for row in rows], padding=True, truncation=True, return_tensors="pt")
labels = torch.tensor([row["label"] for row in rows])
marked = model.bert.pooler.dense.bias.eq(0.25).all().item()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
losses = []
for _ in range(2):
    loss = model.eval()(**batch, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
print(json.dumps({
    "columns": reviews.column_names,
    "sizes": {split: len(reviews[split]) for split in reviews},
    "labels": {split: sorted(set(reviews[split]["label"])) for split in reviews},
    "overlap": len(set(reviews["validation"]["text"]) & set(reviews["test"]["text"])),
    "tokens": list(batch["input_ids"].shape),
    "unknown": (batch["input_ids"] == tokenizer.unk_token_id).sum().item(),
    "types": [str(p.dtype) for p in model.parameters() if p.dtype != torch.float32],
    "marked": marked,
    "losses": losses,
}))
"""


@pytest.fixture
def run(tmp_path):
    """A function that runs code in a Python of its own, with settings; returns what it printed, and its errors."""

    def run(code, **settings):
        home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": CLOSED, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
            cwd=lesson.data_folder().parent, env={**os.environ, **home, **settings},
        )  # fmt: skip

    return run


@pytest.fixture
def tinybert(tmp_path):
    """A folder like huawei-noah/TinyBERT_General_4L_312D: random weights, few words, no tokenizer files."""
    folder = tmp_path / "TinyBERT_General_4L_312D"
    folder.mkdir()
    unused = [f"[unused{k}]" for k in range(99)]
    vocabulary = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"0123456789"]
    vocabulary += [f"##{digit}" for digit in range(10)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = {
        "attention_probs_dropout_prob": 0.1, "cell": {}, "model_type": "bert", "emb_size": 312, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 312, "initializer_range": 0.02, "intermediate_size": 1200,
        "max_position_embeddings": 512, "num_attention_heads": 12, "num_hidden_layers": 4, "pre_trained": "",
        "structure": [], "type_vocab_size": 2, "vocab_size": len(vocabulary),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    weights = BertForPreTraining(BertConfig(**config)).state_dict()
    weights["bert.pooler.dense.bias"].fill_(0.25)
    weights["fit_dense.weight"], weights["fit_dense.bias"] = torch.zeros(768, 312), torch.zeros(768)
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def texts(count, length):
    """Return `count` different texts of about `length` words."""
    return [" ".join([str(k), *(WORDS[(k + i) % len(WORDS)] for i in range(length))]) for k in range(count)]


def halves(count):
    """Return labels in order, as in imdb: all negative reviews come first."""
    return [int(2 * k >= count) for k in range(count)]


@pytest.fixture
def sst2(tmp_path):
    folder = tmp_path / "sst2"
    for split, count, length in (("train", 1200, 9), ("validation", 872, 19), ("test", 100, 19)):
        labels = [-1] * count if split == "test" else halves(count)
        rows = {"idx": list(range(count)), "sentence": texts(count, length), "label": labels}
        Dataset.from_dict(rows).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def imdb(tmp_path):
    folder = tmp_path / "imdb"
    for split in ("train", "test", "unsupervised"):
        labels = [-1] * 1000 if split == "unsupervised" else halves(1000)
        rows = {"text": texts(1000, 700), "label": labels}
        Dataset.from_dict(rows).to_parquet(folder / "plain_text" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize(("data", "tokens"), [("sst2", 15), ("imdb", 512)])
def test_the_original_model_learns_from_data_of_the_hub(request, run, tinybert, data, tokens):
    folder = request.getfixturevalue(data)
    done = run(ONE_STEP, LESSON_CHECKPOINT=str(tinybert), LESSON_DATASET=str(folder))
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)
    assert saw["sizes"] == lesson.SPLITS
    assert saw["columns"] == dict.fromkeys(lesson.SPLITS, ["text", "label"])
    assert saw["labels"] == dict.fromkeys(lesson.SPLITS, [0, 1])
    assert saw["overlap"] == 0
    assert saw["tokens"] == [4, tokens]
    assert saw["unknown"] == 0 and saw["types"] == [] and saw["marked"]
    assert saw["losses"][-1] < saw["losses"][0]
    assert "fit_dense" not in done.stdout + done.stderr


OUT_OF_REACH = """
import datasets, json, time, torch, transformers
from autograder.tinybert.lesson import HubUnreachable, load_reviews, load_tinybert, load_tokenizer

for load in load_reviews, load_tokenizer, load_tinybert:
    started, busy = time.perf_counter(), time.process_time()
    try:
        load()
    except HubUnreachable as error:
        seconds = time.perf_counter() - started, time.process_time() - busy
        print(json.dumps([str(error), repr(error.__cause__), *seconds]))
"""


@pytest.mark.parametrize("port", ["closed", "silent"])
def test_a_hub_out_of_reach_is_one_sentence_within_five_seconds(run, port):
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes a call and never answers
        silent = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = run(
            OUT_OF_REACH, LESSON_CHECKPOINT="nobody/model", LESSON_DATASET="nobody/data",
            HF_ENDPOINT={"closed": CLOSED, "silent": silent}[port],
        )  # fmt: skip
    assert done.stderr == ""
    failures = [json.loads(line) for line in done.stdout.splitlines()]
    names = [("data set", "nobody/data", "DATASET"), *[("checkpoint", "nobody/model", "CHECKPOINT")] * 2]
    assert [sentence for sentence, *_ in failures] == [str(lesson.HubUnreachable(k, n, f"LESSON_{v}")) for k, n, v in names]
    for _, cause, seconds, busy in failures:
        assert cause == "None"
        # On an idle machine these two are all; beside other tests, still less than what one library tries for.
        assert lesson.PATIENCE + busy < 5 and seconds < 15


WHAT_IS_KEPT = """
from autograder.tinybert.lesson import load_tinybert, load_tokenizer
print(load_tokenizer().model_max_length, load_tinybert().bert.pooler.dense.bias[0].item())
"""


def test_what_was_fetched_earlier_needs_no_hub(run, tmp_path, tinybert):
    kept = tmp_path / "home" / "hub" / "models--some--tinybert"  # as huggingface_hub keeps it
    shutil.copytree(tinybert, kept / "snapshots" / ("0" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    done = run(WHAT_IS_KEPT, LESSON_CHECKPOINT="some/tinybert")
    assert (done.stdout, done.stderr) == ("512 0.25\n", "")
