"""Train the lesson's model with several seeds, rates and cures, and measure what came out.

    python data/runs/build.py           # train what is missing, then measure everything
    python data/runs/build.py measure   # measure again what has been trained

Trains one run after another, with one thread where a run does not say otherwise; stopped at any moment, the
same command goes on with the next run. The weights after each epoch stay in data/runs/weights/ (10 MB an
epoch, not committed), the results go to data/runs/runs.json, which README.md describes.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from autograder.tinybert import rulers
from autograder.tinybert.lesson import (
    HIGH,
    MIDDLE,
    NUM_EPOCHS,
    STANDARD,
    WEIGHT_DECAY,
    general_sentences,
    load_reviews,
    load_tokenizer,
)
from autograder.tinybert.start import PARTS, batches, fresh_model, redraw, shuffled_batches

HERE = Path(__file__).parent
WEIGHTS, RESULTS = HERE / "weights", HERE / "runs.json"
SEEDS = range(5)
BATCH_SIZE = 16
OTHER_RATES = 1e-3, 8e-3, 8e-5, 2e-2, 6e-6, 2e-6
WARM_UP = 2  # epochs in which the rate rises from zero
CLIP = 1.0  # largest norm of all gradients together
RANGE = 1e-6, 1e-1, 150  # of the range test: first rate, last rate, steps


@dataclass(frozen=True)
class Run:
    """One training run. cure: "", "warm-up", "clipping", "redrawn", "lowered" or "range"; see README.md."""

    seed: int
    rate: float
    cure: str = ""
    threads: int = 1

    @property
    def folder(self) -> Path:
        return WEIGHTS / f"{self.rate:g}-{self.cure or 'plain'}-seed{self.seed}-threads{self.threads}"


# In the order in which they are wanted.
RUNS = [
    *(Run(seed, rate) for seed in SEEDS for rate in (HIGH, MIDDLE, STANDARD)),
    *(Run(seed, HIGH, cure) for seed in SEEDS for cure in ("warm-up", "clipping", "range")),
    *(Run(seed, MIDDLE, cure) for seed in SEEDS for cure in ("lowered", "redrawn")),
    *(Run(seed, rate) for seed in SEEDS for rate in OTHER_RATES),
    *(Run(seed, rate, threads=2) for seed in SEEDS for rate in (HIGH, MIDDLE, STANDARD)),
]


class Lab:
    """The data, loaded once."""

    def __init__(self) -> None:
        self.tokenizer, reviews = load_tokenizer(), load_reviews()
        self.training = reviews["train"]
        self.validation, self.test = (
            batches(reviews[split], self.tokenizer) for split in ("validation", "test")
        )
        self.everyday = json.loads((HERE / "sentences.json").read_text())
        self.asked = self.everyday["asked"]
        self.topics = [sentence for topic in self.everyday["topics"].values() for sentence in topic]
        self.general = general_sentences()
        self.pretrained = fresh_model(0)
        self.before = self.view(self.pretrained, self.general)
        self.before_topics = self.view(self.pretrained, self.topics)
        self.centre, self.directions = rulers.plane(self.before_topics.sentences[-1])

    def view(self, model, sentences):
        return rulers.view(model, self.tokenizer, sentences)

    def model(self, run):
        """Return the model that a run starts from."""
        model = fresh_model(run.seed)
        if run.cure == "lowered":
            load(model, Run(run.seed, HIGH), NUM_EPOCHS)
        if run.cure == "redrawn":
            redraw(model)
        return model


def train(lab, run, bar):
    """Train, and leave the weights after each epoch and the losses of all steps in the run's folder."""
    torch.set_num_threads(run.threads)
    partial = WEIGHTS / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model = lab.model(run)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=run.rate, weight_decay=WEIGHT_DECAY)
    loader = shuffled_batches(lab.training, lab.tokenizer, BATCH_SIZE)
    steps = {"loss": [], "norm": []}
    torch.manual_seed(run.seed)
    for epoch in range(1, NUM_EPOCHS + 1):
        model.train()
        for input_ids, attention_mask, labels in loader:
            if run.cure == "warm-up":
                optimizer.param_groups[0]["lr"] = run.rate * min(
                    1, len(steps["loss"]) / (WARM_UP * len(loader))
                )
            if run.cure == "range":
                low, high, count = RANGE
                optimizer.param_groups[0]["lr"] = low * (high / low) ** (len(steps["loss"]) / (count - 1))
            optimizer.zero_grad()
            loss = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss
            loss.backward()
            largest = CLIP if run.cure == "clipping" else float("inf")
            norm = torch.nn.utils.clip_grad_norm_(learning, largest)
            optimizer.step()
            steps["loss"].append(loss.item())
            steps["norm"].append(norm.item())
            bar.update()
            if run.cure == "range" and len(steps["loss"]) == RANGE[2]:
                break
        if run.cure == "range" and len(steps["loss"]) == RANGE[2]:
            break
        learnt = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        save_file(learnt, partial / f"{epoch}.safetensors")
    (partial / "steps.json").write_text(json.dumps(steps))
    os.replace(partial, run.folder)


def load(model, run, epoch):
    """Give `model` the weights that a run had after an epoch."""
    model.load_state_dict(load_file(run.folder / f"{epoch}.safetensors"), strict=False)


def measure(lab, run):
    """Return a run's results, as README.md describes them."""
    steps = json.loads((run.folder / "steps.json").read_text())
    result = {"seed": run.seed, "rate": run.rate, "cure": run.cure, "threads": run.threads}
    result["steps"] = rounded(steps["loss"])
    if run.cure == "range":
        return result
    model = fresh_model(run.seed)
    result["norms"] = rounded(np.median(np.reshape(steps["norm"], (NUM_EPOCHS, -1)), axis=1))
    result["training_loss"] = rounded(np.reshape(steps["loss"], (NUM_EPOCHS, -1)).mean(1), 4)
    epochs = []
    for epoch in range(1, NUM_EPOCHS + 1):
        load(model, run, epoch)
        epochs.append(inside(lab, model))
    result |= {key: [epoch[key] for epoch in epochs] for key in epochs[0]}
    return result | outside(lab, model)


def inside(lab, model):
    """Return what is measured after every epoch."""
    logits, labels = rulers.answers(model, lab.validation)
    seen = lab.view(model, lab.general)
    return {
        "validation_loss": rounded(torch.nn.functional.cross_entropy(logits, labels).item(), 4),
        "validation_accuracy": rounded((logits.argmax(-1) == labels).float().mean().item(), 4),
        "spread": rounded(rulers.positive(logits).std()),
        "one_direction": rounded([rulers.one_direction(x) for x in seen.tokens[3:]]),
        "cosine": rounded([rulers.mean_cosine(x) for x in seen.sentences[3:]]),
        "kept": rounded(
            [rulers.neighbours_kept(*xy) for xy in zip(lab.before.sentences[3:], seen.sentences[3:])]
        ),
        "asked": rounded(rulers.positive_of(model, lab.tokenizer, lab.asked), 2),
    }


def outside(lab, model):
    """Return what is measured once, at the end."""
    seen = lab.view(model, lab.general)
    place = (lab.view(model, lab.topics).sentences[-1] - lab.centre) @ lab.directions
    return {
        "test_accuracy": rounded(rulers.loss_and_accuracy(model, lab.test)[1], 4),
        "chances": histogram(*rulers.answers(model, lab.validation)),
        "cka": rounded([rulers.linear_cka(*xy) for xy in zip(lab.before.tokens, seen.tokens)]),
        "moved": rounded([rulers.change(lab.pretrained, model, part) for part in list(PARTS)[:-1]], 4),
        "place": rounded(place, 2),
    }


def histogram(logits, labels):
    """Return how many reviews have a P(positive) in each tenth: [[of wrong answers], [of right ones]]."""
    right, chances = (logits.argmax(-1) == labels).numpy(), rulers.positive(logits)
    return [np.histogram(chances[right == flag], 10, (0, 1))[0].tolist() for flag in (False, True)]


def controls(lab):
    """Return the measures that need no training: of the pre-trained model, and of random upper layers."""
    drawn = [fresh_model(seed) for seed in SEEDS]
    for model in drawn:
        redraw(model)
    models = {"pretrained": [lab.pretrained], "redrawn": drawn}
    return {name: [inside(lab, m) | outside(lab, m) for m in several] for name, several in models.items()}


def first_steps(lab):
    """Return the step-to-weight ratio of the first step, {rate: one for each of PARTS}, seed by seed."""
    found = {}
    for rate in sorted({run.rate for run in RUNS}):
        found[f"{rate:g}"] = []
        for seed in SEEDS:
            model = fresh_model(seed)
            learning = [p for p in model.parameters() if p.requires_grad]
            optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=WEIGHT_DECAY)
            torch.manual_seed(seed)
            batch = next(iter(shuffled_batches(lab.training, lab.tokenizer, BATCH_SIZE)))
            ratios = rulers.step_to_weight(model, optimizer, batch, rate)
            found[f"{rate:g}"].append([float(f"{ratio:.3g}") for ratio in ratios.values()])
    return found


def rounded(values, digits=3):
    """Return numbers with a few digits, as JSON takes them; NaN as null."""
    if np.ndim(values):
        return [rounded(value, digits) for value in values]
    return None if np.isnan(values) else round(float(values), digits)


def main(what="train"):
    lab = Lab()
    if what == "measure":
        for path in WEIGHTS.glob("*/result.json"):
            path.unlink()
    missing = [run for run in RUNS if not run.folder.exists()] if what == "train" else []
    length = -(-len(lab.training) // BATCH_SIZE) * NUM_EPOCHS
    parts = {
        "generated": "by python data/runs/build.py",
        "reviews": {"validation": size(lab.validation), "test": size(lab.test)},
        "sentences": lab.everyday,
        "parts": list(PARTS),
        "first_step": first_steps(lab),
        "controls": controls(lab),
    }
    with tqdm(total=sum(RANGE[2] if run.cure == "range" else length for run in missing), unit="step") as bar:
        for run in RUNS:
            if run in missing:
                bar.set_description(run.folder.name)
                train(lab, run, bar)
            torch.set_num_threads(1)
            if run.folder.exists() and not (run.folder / "result.json").exists():
                (run.folder / "result.json").write_text(json.dumps(measure(lab, run), separators=(",", ":")))
                store(parts)
    store(parts)


def store(parts):
    """Write runs.json: a line for each part, and one for each run that has been measured."""
    results = [run.folder / "result.json" for run in RUNS]
    found = [json.loads(path.read_text()) for path in results if path.exists()]
    for run in found:
        if run["threads"] > 1 or run["cure"] not in ("", "range"):
            run["steps"] = run["steps"][: len(run["steps"]) // NUM_EPOCHS]
    runs = ",\n".join(json.dumps(run, separators=(",", ":")) for run in found)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in parts.items()]
    RESULTS.write_text("{" + ",\n".join([*lines, f'"runs": [\n{runs}\n]']) + "}\n")


def size(batches):
    return sum(len(labels) for _, _, labels in batches)


if __name__ == "__main__":
    main(*sys.argv[1:])
