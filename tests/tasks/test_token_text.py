"""Texts read by a user's tokenizer: language modelling in bits a byte, labelled texts, predictions and prompts."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.laws.tasks import TaskCase
from anyformer.laws.tasks.run import run_task_laws
from anyformer.tasks import DataError, create_task, open_data, score_reference
from anyformer.tasks.ngrams import NGram
from anyformer.tasks.token_text import TokenTask
from anyformer.train import Fit, load_bundle

tokenizers = pytest.importorskip("tokenizers")
NOUNS, VERBS = ["cat", "dog", "bird", "fish"], ["sees", "hears"]


def text(count: int = 1500, seed: int = 0) -> str:
    draw = random.Random(seed)
    return "\n".join(
        f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} the {draw.choice(NOUNS)}" for _ in range(count)
    )


def bytes_alone(folder: Path) -> str:
    """A tokenizer whose tokens are the bytes, each with its own value."""
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    shown = {letter: tokenizers.decoders.ByteLevel().decode([letter]) for letter in alphabet}
    free = iter(range(128, 256))
    known = {
        one: ord(char) if char != "\N{REPLACEMENT CHARACTER}" else next(free) for one, char in shown.items()
    }
    made = tokenizers.Tokenizer(tokenizers.models.BPE(known, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    return _saved(made, folder / "bytes.json")


def merged(folder: Path, vocab_size: int = 300) -> str:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([text()], trainer)
    return _saved(made, folder / "merged.json")


def words(folder: Path) -> str:
    known = {"[UNK]": 0, **{word: i for i, word in enumerate(["the", *NOUNS[:3], *VERBS], 1)}}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return _saved(made, folder / "words.json")


def _saved(made: Any, path: Path) -> str:
    made.save(str(path))
    return str(path)


@pytest.fixture
def story(tmp_path: Path) -> Path:
    (tmp_path / "story.txt").write_text(text())
    return tmp_path / "story.txt"


def test_tokens_that_are_bytes_score_as_bytes(story: Path, tmp_path: Path) -> None:
    by_bytes, by_tokens = open_data(story), open_data(story, tokenizer=bytes_alone(tmp_path))
    assert isinstance(by_tokens, TokenTask) and by_tokens.metric.name == "bits per byte"
    for order in (1, 3):
        expected = score_reference(NGram(order).fit(by_bytes), by_bytes)
        assert score_reference(NGram(order).fit(by_tokens), by_tokens) == pytest.approx(expected, abs=1e-6)


def test_bits_are_of_the_bytes_that_tokens_stand_for(story: Path, tmp_path: Path) -> None:
    task = open_data(story, tokenizer=merged(tmp_path), length=16)
    assert isinstance(task, TokenTask) and task.tokenizer is not None
    facts = task.describe()
    assert facts["bytes"]["test"] > 2 * facts["tokens"]["test"] and task.vocab_size == facts["vocab_size"]
    batch = next(task.eval_batches("test", 4))
    assert batch.sizes is not None and batch.sizes.shape == batch.targets.shape == (4, 16)
    for row, sizes in zip(batch.targets, batch.sizes):
        assert len(task.tokenizer.decode(row.tolist()).encode()) == int(sizes.sum())
    items = task.metric.measure(torch.zeros(4, 16, task.vocab_size or 0), batch.target)
    np.testing.assert_allclose(items[:, 0], 16 * math.log2(task.vocab_size or 1), rtol=1e-6)
    np.testing.assert_allclose(items[:, 1], batch.sizes.sum(1))
    assert f"the tokenizer has {task.vocab_size} tokens; one stands for" in task.notes()[-1]


def test_what_a_tokenizer_loses_is_said(story: Path, tmp_path: Path) -> None:
    notes = " ".join(open_data(story, tokenizer=words(tmp_path), length=16).notes())
    assert "does not give back 1 of 1 texts as they were: bits per byte do not count what it loses" in notes
    assert "% of the tokens in training are '[UNK]', not known" in notes


def test_a_large_vocabulary_is_evaluated_in_small_batches(
    story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = open_data(story, tokenizer=merged(tmp_path), length=16)
    whole = score_reference(NGram(2).fit(task), task)
    monkeypatch.setattr("anyformer.tasks.token_text._LOGITS", 16 * (task.vocab_size or 0) * 3)
    assert {len(batch) for batch in task.eval_batches("test", 64)} <= {1, 2, 3}
    assert score_reference(NGram(2).fit(task), task) == pytest.approx(whole)


def test_train_and_generate(story: Path, tmp_path: Path) -> None:
    given = [
        "train",
        str(story),
        "--tokenizer",
        merged(tmp_path),
        "--length",
        "16",
        "--model",
        "[mamba]*1 dim=32",
    ]
    done = CliRunner().invoke(
        app, [*given, "--steps", "40", "--learning-rate", "1e-2", "--out", f"{tmp_path}/m"]
    )
    assert done.exit_code == 0, done.output
    assert "Predict the next token of story.txt" in done.output.replace("\n", " ")
    (tmp_path / "merged.json").unlink()  # the model has its own
    bundle = load_bundle(tmp_path / "m")
    new = bundle.generate("the cat", 12, temperature=0.0)
    assert new.startswith((" sees the", " hears the")), new
    shown = CliRunner().invoke(
        app, ["generate", f"{tmp_path}/m", "--prompt", "the dog", "--temperature", "0"]
    )
    assert shown.output.startswith(("the dog sees", "the dog hears"))
    (tmp_path / "m" / "tokenizer.json").unlink()
    with pytest.raises(
        ValueError, match=r"there is no tokenizer.json in it, which was saved with the others"
    ):
        load_bundle(tmp_path / "m")


def labelled(path: Path, count: int = 120) -> Path:
    draw = random.Random(1)
    rows = []
    for _ in range(count):
        noun = draw.choice(NOUNS)
        rows.append(
            {"text": f"the {noun} {draw.choice(VERBS)} {draw.randint(0, 999)}", "label": noun in "catdog"}
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_labelled_texts(tmp_path: Path) -> None:
    data, own = labelled(tmp_path / "d.jsonl"), merged(tmp_path)
    fit = Fit.start(
        *(tmp_path / "m", data, "[mamba]*1 dim=16"),
        **{"target": "label", "options": {"tokenizer": own}, "steps": 40, "learning_rate": 1e-2},
    )
    assert fit.task.vocab_size > 256 and any(
        "is read by the tokenizer, which has" in n for n in fit.task.notes()
    )
    fit.run()
    assert fit.test is not None and fit.test > 0.9
    new = pd.DataFrame({"text": [f"the {noun} sees 5" for noun in NOUNS]})
    (tmp_path / "merged.json").unlink()
    bundle = load_bundle(tmp_path / "m")
    told = bundle.predict(new)
    assert told.table.label.tolist() == ["True", "True", "False", "False"] and not told.remarks
    json_of_task = (tmp_path / "m" / "task.json").read_text()
    assert "merges" not in json_of_task and (tmp_path / "m" / "tokenizer.json").is_file()


def test_texts_without_tokens(tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choices(["the", *NOUNS, *VERBS], k=5)) if i % 2 else " " * i for i in range(40)]
    rows = [json.dumps({"text": one, "label": i % 4 // 2}) for i, one in enumerate(texts)]
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    task = open_data(tmp_path / "d.jsonl", "label", text="text", tokenizer=words(tmp_path))
    assert "20 texts in 'text' have no tokens; each is read as '[UNK]'" in task.notes()


def test_classes_of_files(tmp_path: Path) -> None:
    for place in range(40):
        folder = tmp_path / "d" / VERBS[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.txt").write_text(f"the {NOUNS[place % 2]} {place}")
    task = open_data(tmp_path / "d", kind="classify", tokenizer=merged(tmp_path))
    assert task.vocab_size is not None and task.vocab_size > 256


@pytest.mark.parametrize("kind", ["texts", "labelled"])
def test_laws(kind: str, story: Path, tmp_path: Path) -> None:
    own = merged(tmp_path)
    data, options = (
        (story, {"length": 16}) if kind == "texts" else (labelled(tmp_path / "d.jsonl"), {"target": "label"})
    )
    case = TaskCase(kind, lambda: open_data(data, tokenizer=own, **options), data)
    assert not [f"{r.law}: {r.detail}" for r in run_task_laws(case, None) if not r.good]


def test_mistakes(story: Path, tmp_path: Path) -> None:
    own = merged(tmp_path)
    table = tmp_path / "t.csv"
    pd.DataFrame({"a": np.arange(40) ** 2 % 41, "b": np.arange(40) % 2}).to_csv(table, index=False)
    with pytest.raises(ValueError, match="tokenizer does not apply to columns of numbers"):
        create_task(table, target="b", tokenizer=own)
    with pytest.raises(ValueError, match="tokenizer does not apply to raw bytes"):
        create_task(story, tokenizer=own, raw=True)
    with pytest.raises(DataError, match="tokenizer: there is no file 'none.json'"):
        create_task(story, tokenizer="none.json")
    with pytest.raises(DataError, match="length 99999 is too long; the smallest split has .* tokens"):
        create_task(story, tokenizer=own, length=99999)
