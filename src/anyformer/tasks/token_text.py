"""Language modelling of the tokens of a user's tokenizer, measured in bits for each byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from anyformer.errors import DataError
from anyformer.questions import PIECE, Question
from anyformer.tasks.base import SPLITS, Reference, Split
from anyformer.tasks.batch import Batch
from anyformer.tasks.ngrams import BestNGram, NGram
from anyformer.tasks.text import EVAL_BYTES, ByteTask, Document
from anyformer.tokenizers import TextTokenizer

_LOGITS = 2**25
"""The most logits of a batch that is evaluated; larger batches are divided."""
_LOOKED_AT = 50


class TokenTask(ByteTask):
    """Predict each token of a text from those before it.

    The splits are those of :class:`ByteTask` on the same text, and so is the measure: the bits of a token are divided
    by the bytes that it stands for, so that scores compare with those of models of bytes. Evaluation covers about as
    many bytes.

    Args:
        documents: the text, in pieces, UTF-8.
        tokenizer: reads them.
        options: the other arguments of :class:`ByteTask`; ``length`` is in tokens.
    """

    unit = "token"

    def __init__(self, documents: Sequence[Document], tokenizer: TextTokenizer, **options: Any) -> None:
        self.tokenizer, self.vocab_size = tokenizer, tokenizer.vocab_size
        self._sizes: dict[Split, np.ndarray] = {}
        super().__init__(documents, **options)
        self.digest = tokenizer.digest
        told = sum(int(sizes.sum()) for sizes in self._sizes.values())
        count = sum(len(sizes) for sizes in self._sizes.values())
        self._remarks.append(
            f"the tokenizer has {self.vocab_size:,} tokens; one stands for {told / count:.2f} bytes on average"
        )
        self._remarks.extend(
            losses_of(tokenizer, [one.data for one in self._pieces["train"]], self._data["train"])
        )

    def _coded(self, split: Split, pieces: Sequence[Document]) -> tuple[np.ndarray, np.ndarray]:
        texts = [piece.data.decode("utf-8", "ignore") for piece in pieces]  # a cut may lie inside a character
        texts = [f"{text}\n" for text in texts[:-1]] + texts[-1:]
        assert self.tokenizer is not None
        read = self.tokenizer.encode(texts)
        self._sizes[split] = np.concatenate([one.sizes for one in read])
        if not len(self._sizes[split]):
            raise DataError(f"{self.name}: the tokenizer gives no token for the text of the {split} split")
        return np.concatenate([one.ids for one in read]), np.array([len(one.ids) for one in read])

    def _evaluated(self, split: Split) -> int:
        """The number of tokens that stand for as many bytes as a model of bytes is evaluated on."""
        each = self._sizes[split].sum() / len(self._sizes[split])
        return max(1, int((EVAL_BYTES if split == "test" else EVAL_BYTES // 2) / each))

    def _windows(self, split: Split, starts: np.ndarray, length: int) -> Batch:
        places = starts[:, None] + 1 + np.arange(length)
        return replace(
            super()._windows(split, starts, length), sizes=torch.from_numpy(self._sizes[split][places])
        )

    def eval_batches(
        self, split: Split, batch_size: int, *, length: int | None = None, index: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yield the samples with these indices, by default the whole split; a batch has at most ``_LOGITS`` logits."""
        most = max(1, _LOGITS // (self.check_length(length) * (self.vocab_size or 1)))
        yield from super().eval_batches(split, min(batch_size, most), length=length, index=index)

    @property
    def question(self) -> Question:
        """The next token at each position."""
        return replace(self.objective.question, field=PIECE)

    def references(self) -> list[Reference]:
        """Frequencies of tokens, bigrams, and the n-grams that validation chooses."""
        assert self.vocab_size is not None
        fitting = [order for order in (1, 2, 3, 4) if self.vocab_size**order < 2**62]
        return [*(NGram(order) for order in fitting[:2]), *([BestNGram(fitting[1:])] if fitting[1:] else [])]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {
            **super().describe(),
            "vocab_size": self.vocab_size,
            "tokens": {split: len(self._data[split]) for split in SPLITS},
            "bytes": {split: int(self._sizes[split].sum()) for split in SPLITS},
        }


def language_model(
    documents: Sequence[Document], tokenizer: str | None, *, what: str, **options: Any
) -> ByteTask:
    """Return the task of a text, by bytes or by the tokens of the tokenizer in a file.

    Args:
        documents: the text.
        tokenizer: the file, if there is one.
        what: the name of the text, for the title.
        options: further arguments of :class:`ByteTask`.
    """
    if tokenizer is None:
        return ByteTask(documents, title=f"Predict the next byte of {what}.", **options)
    title = f"Predict the next token of {what}."
    return TokenTask(documents, TextTokenizer.load(tokenizer), title=title, **options)


def losses_of(tokenizer: TextTokenizer, texts: Sequence[bytes], ids: np.ndarray) -> list[str]:
    """Return remarks on what a tokenizer loses of training texts: characters that it changes, and unknown tokens."""
    told, some = [], [text.decode("utf-8", "ignore")[:1000] for text in texts[:_LOOKED_AT]]
    changed = sum(
        tokenizer.decode(one.ids.tolist()) != text for one, text in zip(tokenizer.encode(some), some)
    )
    if changed:
        told.append(
            f"the tokenizer does not give back {changed} of {len(some)} texts as they were: bits per byte do not "
            "count what it loses"
        )
    unknown = tokenizer.unknown()
    if unknown is not None and (share := float((ids == unknown).mean())):
        told.append(
            f"{100 * share:.2g} % of the tokens in training are {tokenizer.token(unknown)!r}, not known"
        )
    return told
