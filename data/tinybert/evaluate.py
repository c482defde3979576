"""Measure what pre-training is worth: the model card's comparison.

    pip install -e ".[build]"
    python data/tinybert/evaluate.py

Fine-tunes all of TinyBERT on data/reviews in the ordinary way, once from the embedded
checkpoint and once from random weights of the same architecture, at several learning rates;
the rate that is best on validation (mean over seeds) is reported on test. Beside them a
bag-of-words logistic regression. Prints a Markdown table. About 25 minutes on two cores.
"""

import statistics

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification

from autograder.tinybert.lesson import load_reviews, load_tinybert, load_tokenizer

SEEDS = range(5)
RATES = (2e-5, 1e-4, 3e-4, 1e-3)
EPOCHS = 6
BATCH = 16
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the logistic regression, also chosen on validation

reviews = load_reviews()
tokenizer = load_tokenizer()


def collate(rows):
    batch = tokenizer([r["text"] for r in rows], padding=True, truncation=True, return_tensors="pt")
    return dict(batch, labels=torch.tensor([row["label"] for row in rows]))


@torch.no_grad()
def accuracy(model, split):
    model.eval()
    right = 0
    for batch in DataLoader(reviews[split], batch_size=100, collate_fn=collate):
        right += (model(**batch).logits.argmax(-1) == batch["labels"]).sum().item()
    return right / len(reviews[split])


def fine_tune(start, rate, seed):
    """Return (validation, test) accuracy; the rate falls linearly to zero."""
    torch.manual_seed(seed)
    model = load_tinybert()
    if start == "random weights":
        model = AutoModelForSequenceClassification.from_config(model.config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    loader = DataLoader(reviews["train"], batch_size=BATCH, shuffle=True, collate_fn=collate)
    steps = EPOCHS * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(EPOCHS):
        model.train()
        for batch in loader:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
            schedule.step()
    return accuracy(model, "validation"), accuracy(model, "test")


def bag_of_words(strength):
    """Return (validation, test) accuracy of a logistic regression on word counts."""
    words = CountVectorizer(ngram_range=(1, 2))
    features = words.fit_transform(reviews["train"]["text"])
    model = LogisticRegression(C=strength, max_iter=1000).fit(features, reviews["train"]["label"])
    return tuple(
        model.score(words.transform(reviews[split]["text"]), reviews[split]["label"])
        for split in ("validation", "test")
    )


def best(candidates):
    """Return (setting, test accuracies) of the candidate that is best on validation.

    candidates: {setting: [(validation, test) by seed]}
    """
    setting = max(candidates, key=lambda s: statistics.mean(v for v, _ in candidates[s]))
    return setting, [test for _, test in candidates[setting]]


def main():
    print("| start | setting | test accuracy, mean of 5 seeds | lowest to highest |\n|---|---|---|---|")
    for start in ("embedded checkpoint", "random weights"):
        runs = {
            f"lr {rate:g}": [fine_tune(start, rate, seed) for seed in tqdm(SEEDS, desc=f"{start} {rate:g}")]
            for rate in RATES
        }
        setting, tests = best(runs)
        print(
            f"| {start} | {setting} | {statistics.mean(tests):.3f} | {min(tests):.3f} to {max(tests):.3f} |"
        )
    setting, tests = best({f"C {strength:g}": [bag_of_words(strength)] for strength in STRENGTHS})
    print(f"| bag of words (no seed) | {setting} | {tests[0]:.3f} | |")


if __name__ == "__main__":
    main()
