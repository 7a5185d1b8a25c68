"""A user's tokenizer, a ``tokenizer.json`` of Hugging Face's ``tokenizers``, which is an optional dependency."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyformer.errors import DataError
from anyformer.spelling import option

FILE = "tokenizer.json"


class TextTokens(NamedTuple):
    """A text as tokens.

    Attributes:
        ids: ``(n,)`` int64.
        sizes: ``(n,)`` int64, the bytes that each stands for. They sum to those of the text, if it has any token: what
            a tokenizer drops counts for the token behind it, and at the end for the last. Of a character in several
            tokens, all bytes count for the first.
    """

    ids: np.ndarray
    sizes: np.ndarray


class TextTokenizer:
    """A tokenizer that reads texts as they are: without special tokens around them, without truncation or padding.

    Args:
        json: of the file.

    Raises:
        ValueError: the package ``tokenizers`` is missing, or cannot read it.
    """

    def __init__(self, json: str) -> None:
        self.json = json
        assert self._tokenizer is not None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TextTokenizer:
        """Read a file, or that of the usual name in a folder.

        Raises:
            DataError: it is not there, or is no tokenizer.
            ValueError: the package ``tokenizers`` is missing.
        """
        file = Path(path)
        file = file / FILE if file.is_dir() else file
        if not file.is_file():
            raise DataError(f"{option('tokenizer')}: there is no file {os.fspath(file)!r}")
        try:
            return cls(file.read_text(encoding="utf-8"))
        except (DataError, UnicodeDecodeError) as error:
            what = f"{os.fspath(file)!r} is no {FILE} of Hugging Face"
            raise DataError(f"{option('tokenizer')}: {what}: {error}") from None

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            import tokenizers
        except ImportError:
            raise ValueError(
                f"{option('tokenizer')} needs the package tokenizers: pip install 'anyformer[tokenizers]'"
            ) from None
        try:
            found = tokenizers.Tokenizer.from_str(self.json)
        except Exception as error:  # the package raises Exception itself
            raise DataError(" ".join(str(error).split())[:100]) from None
        found.no_truncation()
        found.no_padding()
        return found

    def __getstate__(self) -> dict[str, str]:
        return {"json": self.json}

    @property
    def vocab_size(self) -> int:
        """The number of tokens, the highest id and one."""
        return int(max(self._tokenizer.get_vocab(with_added_tokens=True).values())) + 1

    @property
    def digest(self) -> str:
        """A hash of its file."""
        return blake2b(self.json.encode(), digest_size=16).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[TextTokens]:
        """Return the tokens of texts."""
        read = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [_pieces(text, one.ids, one.offsets) for text, one in zip(texts, read)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones included."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def continued(self, ids: Sequence[int], new: Sequence[int]) -> str:
        """Return the text that new tokens add behind others."""
        before, whole = self.decode(ids), self.decode([*ids, *new])
        return whole[len(before) :] if whole.startswith(before) else self.decode(new)

    def token(self, id: int) -> str:
        """Return a token as the vocabulary writes it."""
        return str(self._tokenizer.id_to_token(id))

    def unknown(self) -> int | None:
        """Return the id of the token for what it does not know; None if there is none."""
        name = getattr(self._tokenizer.model, "unk_token", None)
        return None if name is None else self._tokenizer.token_to_id(name)


def _pieces(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> TextTokens:
    """Return tokens with the bytes up to the end of each, less those up to the end of the one before."""
    if not ids:
        return TextTokens(np.empty(0, np.int64), np.empty(0, np.int64))
    widths = np.array([len(character.encode()) for character in text], np.int64)
    bytes_to = np.append(0, widths.cumsum())
    ends = np.maximum.accumulate(bytes_to[np.array([end for _, end in offsets], np.int64)])
    ends[-1] = bytes_to[-1]
    return TextTokens(np.array(ids, np.int64), np.diff(ends, prepend=0))
