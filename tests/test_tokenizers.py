"""A user's tokenizer: which bytes its tokens stand for, and what is said where it cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from anyformer.errors import DataError
from anyformer.tokenizers import TextTokenizer

tokenizers = pytest.importorskip("tokenizers")
TEXTS = [
    "hello there, world",
    "h\N{LATIN SMALL LETTER E WITH ACUTE}llo  w\N{SNOWMAN}rld",
    "",
    " a\n b ",
    "HELLO",
]


def pieces_of_bytes() -> TextTokenizer:
    """Byte-level BPE, which gives every text back."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(["hello there, world. "] * 20, trainer)
    return TextTokenizer(made.to_str())


def words() -> TextTokenizer:
    """Known words in lower case, without what is between them."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0, "hello": 1, "world": 2}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[UNK] $A", special_tokens=[("[UNK]", 0)]
    )
    made.enable_truncation(2)
    made.enable_padding(length=7)
    return TextTokenizer(made.to_str())


@pytest.mark.parametrize("make", [pieces_of_bytes, words])
def test_sizes_sum_to_the_bytes_of_the_text(make: Any) -> None:
    for text, read in zip(TEXTS, make().encode(TEXTS)):
        assert len(read.ids) == len(read.sizes) and (read.sizes >= 0).all()
        assert int(read.sizes.sum()) == (len(text.encode()) if len(read.ids) else 0)


def test_bytes_of_a_token() -> None:
    (read,) = words().encode(["hello  world "])
    assert read.ids.tolist() == [1, 2] and read.sizes.tolist() == [5, 8], (
        "blanks count for the token behind them"
    )
    (read,) = pieces_of_bytes().encode(["\N{SNOWMAN}"])
    assert read.sizes.tolist() == [3, 0, 0], "a character in three tokens"


def test_texts_come_back() -> None:
    own = pieces_of_bytes()
    for text, read in zip(TEXTS, own.encode(TEXTS)):
        assert own.decode(read.ids.tolist()) == text
    start, whole = (one.ids.tolist() for one in own.encode(["hello", "hello world"]))
    assert own.continued(start, whole[len(start) :]) == " world"
    assert words().continued([1], [2]) == " world"


def test_unknown_and_names() -> None:
    assert words().unknown() == 0 and words().token(2) == "world" and words().vocab_size == 3
    assert pieces_of_bytes().unknown() is None and 256 < pieces_of_bytes().vocab_size <= 290
    assert pieces_of_bytes().digest != words().digest


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(words().json, encoding="utf-8")
    assert TextTokenizer.load(file).vocab_size == TextTokenizer.load(tmp_path).vocab_size == 3
    with pytest.raises(DataError, match="tokenizer: there is no file '.*other.json'"):
        TextTokenizer.load(tmp_path / "other.json")
    for damaged in (b"{", b'{"a": 1}', b"\xff\xfe\xff"):
        file.write_bytes(damaged)
        with pytest.raises(
            DataError, match="tokenizer: '.*tokenizer.json' is no tokenizer.json of Hugging Face"
        ):
            TextTokenizer.load(file)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(
        ValueError, match=r"tokenizer needs the package tokenizers: pip install 'anyformer\[tok"
    ):
        TextTokenizer(words_json)


words_json = words().json
