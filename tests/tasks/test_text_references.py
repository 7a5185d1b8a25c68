"""A linear model on words and characters: what a word tells that its letters do not, and which tasks have it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anyformer.tasks import open_data, score_reference
from anyformer.tasks.base import Task
from anyformer.tasks.text_references import TextLinear


def made_up(count: int = 700, length: int = 14, seed: int = 0) -> list[dict[str, object]]:
    """Texts of words of seven letters, all of a and b, in which one of four at a random place tells the class."""
    draw = np.random.default_rng(seed)
    every = ["".join("ab"[number >> place & 1] for place in range(7)) for number in range(128)]
    words = [every[place] for place in draw.permutation(128)]
    told, rest = {"good": words[:2], "bad": words[2:4]}, words[4:]
    found = list[dict[str, object]]()
    for number in range(count):
        label = ("good", "bad")[number % 2]
        text = [str(word) for word in draw.choice(rest, length)]
        text[draw.integers(length)] = str(draw.choice(told[label]))
        found.append({"text": " ".join(text), "label": label})
    return found


def saved(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records), encoding="utf-8")
    return path


def scores(task: Task) -> dict[str, float]:
    return {one.name: score_reference(one.fit(task), task) for one in task.references()}


def test_a_word_tells_what_its_letters_do_not(tmp_path: Path) -> None:
    found = scores(open_data(saved(tmp_path / "d.jsonl", made_up()), "label"))
    assert list(found) == ["majority", "linear", "tf-idf"]
    assert found["tf-idf"] > 0.95 > 0.8 > found["linear"]


def test_labels_and_numbers(tmp_path: Path) -> None:
    records = made_up(400)
    several = [{"text": one["text"], "labels": [one["label"]]} for one in records]
    found = scores(open_data(saved(tmp_path / "l.jsonl", several)))
    assert found["tf-idf"] > 0.9 > found["linear"]
    rated = [{"text": one["text"], "stars": 1.0 + 4 * (one["label"] == "good")} for one in records]
    found = scores(open_data(saved(tmp_path / "n.jsonl", rated), "stars", kind="regress"))
    assert found["tf-idf"] < 0.7 * found["linear"]


def test_a_folder_a_class_and_any_script(tmp_path: Path) -> None:
    """Texts of blanks alone, cut characters and other scripts are read, too."""
    texts = {"a": ["да нет", "是的 好", " ", "é" * 9, "?!"], "b": ["nein", "ñandú", "\n", "ß", "...", "否"]}
    for label, some in texts.items():
        (tmp_path / "d" / label).mkdir(parents=True)
        for number in range(20):
            text = some[number % len(some)] + " " * (number // len(some))
            (tmp_path / "d" / label / f"{number}.txt").write_text(text, encoding="utf-8")
    task = open_data(tmp_path / "d", kind="classify", length=7)
    one = task.references()[2].fit(task)
    assert isinstance(one, TextLinear) and score_reference(one, task) > 0.3
    assert one.texts(task.sample("test", 1))[0]


def test_texts_of_one_character_have_words_alone(tmp_path: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    rows = [{"text": letters[n % 26], "label": "pn"[n % 26 > 12]} for n in range(104)]
    task = open_data(saved(tmp_path / "d.jsonl", rows), "label")
    one = task.references()[2].fit(task)
    assert isinstance(one, TextLinear) and len(one.vectorizers) == 1
    assert np.isfinite(score_reference(one, task))


def test_tokens_are_read_as_their_text(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    data = saved(tmp_path / "d.jsonl", made_up(300))
    own = tokenizers.Tokenizer(tokenizers.models.BPE())
    own.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = tokenizers.decoders.ByteLevel()
    texts = [str(one["text"]) for one in made_up(300)]
    own.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(vocab_size=60, show_progress=False))
    own.save(str(tmp_path / "tokenizer.json"))
    task = open_data(data, "label", tokenizer=str(tmp_path / "tokenizer.json"))
    read = task.references()[2].texts(task.sample("test", 9))  # type: ignore[attr-defined]
    assert task.vocab_size == 60 and len(read) == 9 and set(read) <= set(texts)


def test_whole_numbers_are_no_text(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=draw.integers(0, 256, (60, 9)), y=np.arange(60) % 2)
    assert [one.name for one in open_data(tmp_path / "d.npz").references()] == ["majority", "linear"]


def test_its_cost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyformer.tasks.text_references.MOST_TOKENS", 7_000)
    task = open_data(saved(tmp_path / "d.jsonl", made_up(200, 10)), "label")
    one = task.references()[2].fit(task)
    assert isinstance(one, TextLinear) and one.description.endswith("fitted on 88 of the training texts")
    ngrams = sum(len(part.vocabulary_) for part in one.vectorizers)
    assert one.parameters == 2 * ngrams + 1
