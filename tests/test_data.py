"""The data set keeps its promises, and the checkpoint loads as the lesson says."""

import re
from itertools import combinations

import pytest
import torch
from safetensors import safe_open

from autograder.tinybert import lesson

SPLITS = {"train": 600, "validation": 400, "test": 400}


@pytest.fixture(scope="module")
def reviews():
    return lesson.load_reviews()


def words(text):
    return frozenset(re.findall(r"[a-z0-9']+", text.lower()))


def test_sizes_balance_and_length(reviews):
    assert {split: len(reviews[split]) for split in reviews} == SPLITS
    for split in SPLITS:
        assert reviews[split].column_names == ["text", "label"]
        assert sum(reviews[split]["label"]) * 2 == SPLITS[split]
        lengths = [len(text.split()) for text in reviews[split]["text"]]
        assert min(lengths) >= 4 and max(lengths) <= 40
        assert all(text.isascii() and text == text.strip() for text in reviews[split]["text"])


def test_no_duplicates_or_near_duplicates(reviews):
    everything = [(split, text, words(text)) for split in SPLITS for text in reviews[split]["text"]]
    close = [
        (first[:2], second[:2])
        for first, second in combinations(everything, 2)
        if len(first[2] & second[2]) > 0.6 * len(first[2] | second[2])
    ]
    assert close == []


def test_checkpoint_is_tinybert_in_half_precision_loaded_as_float32():
    model, tokenizer = lesson.load_tinybert(), lesson.load_tokenizer()
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (4, 312, 12)
    assert (config.intermediate_size, config.max_position_embeddings) == (1200, 128)
    assert config.vocab_size == len(tokenizer) <= 8000
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with safe_open(lesson.data_folder() / "tinybert" / "model.safetensors", "pt") as stored:
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {torch.float16}


def test_tokenizer_is_lower_case_word_pieces_cut_at_128():
    tokenizer = lesson.load_tokenizer()
    assert tokenizer.tokenize("The FILM was") == tokenizer.tokenize("the film was")
    assert len(tokenizer("word " * 500, truncation=True)["input_ids"]) == 128
    assert tokenizer.pad_token_id == 0


@torch.no_grad()
def test_checkpoint_knows_more_than_random_weights():
    """A paraphrase is nearer than an unrelated sentence, in most of these triples."""
    model, tokenizer = lesson.load_tinybert().bert.eval(), lesson.load_tokenizer()

    def vector(text):
        batch = tokenizer(text, return_tensors="pt")
        return model(**batch).last_hidden_state[0].mean(0)

    triples = [
        ("The doctor treated the patient.", "A physician cared for a sick man.", "The train was late again."),
        (
            "They won the football match.",
            "The team was victorious in the game.",
            "Bread needs flour and yeast.",
        ),
        ("The ship sailed across the ocean.", "A boat crossed the sea.", "The court rejected the law."),
        ("She sang a beautiful song.", "The music of her voice was lovely.", "The engine needs more oil."),
        (
            "It rained all day in the town.",
            "The weather was wet in the city.",
            "He wrote a computer program.",
        ),
    ]
    right = sum(
        torch.cosine_similarity(vector(a), vector(b), 0) > torch.cosine_similarity(vector(a), vector(c), 0)
        for a, b, c in triples
    )
    assert right >= 4


def test_held_out_sentences():
    sentences = lesson.general_sentences()
    assert len(sentences) == len(set(sentences)) >= 150


@pytest.mark.parametrize(
    ("setting", "load", "variable"),
    [
        ("CHECKPOINT", lesson.load_tinybert, "LESSON_CHECKPOINT"),
        ("CHECKPOINT", lesson.load_tokenizer, "LESSON_CHECKPOINT"),
        ("DATASET", lesson.load_reviews, "LESSON_DATASET"),
    ],
)
def test_a_hub_that_cannot_be_reached_says_how_to_go_back(monkeypatch, setting, load, variable):
    monkeypatch.setattr(lesson, setting, "nobody/there")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(lesson.HubUnreachable, match=f"nobody/there.*unset {variable}"):
        load()


def test_missing_data_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(lesson, "__file__", str(tmp_path / "autograder" / "lesson.py"))
    with pytest.raises(FileNotFoundError, match="install the lesson again"):
        lesson.data_folder()
