"""Sentences as bytes, with the places at which words end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anyformer.questions import IGNORED, UNKNOWN
from anyformer.tasks.batch import Batch


@dataclass(frozen=True)
class Pieces:
    """Sentences, those that are too long in pieces of whole words.

    The words ``["A", "fox"]`` are the bytes ``A fox``; the answers about them are read at the elements 0 and 4.

    Attributes:
        data: bytes of all pieces, uint8.
        bounds: ``(P + 1,)``, of each piece in ``data``.
        ends: the last byte of each word, from the start of its piece.
        word_bounds: ``(P + 1,)``, of each piece in ``ends``.
        owner: ``(P,)``, the sentence of each piece.
        divided: number of sentences in more than one piece.
        shortened: number of words longer than a piece, which lose their last bytes.
    """

    data: np.ndarray
    bounds: np.ndarray
    ends: np.ndarray
    word_bounds: np.ndarray
    owner: np.ndarray
    divided: int
    shortened: int

    @classmethod
    def of(cls, sentences: Sequence[Sequence[str]], length: int) -> Pieces:
        """Return sentences as pieces of at most ``length`` bytes; those without words have none."""
        data, ends, owner, words, shortened = list[bytes](), list[int](), list[int](), [0], 0
        for number, sentence in enumerate(sentences):
            piece: list[bytes] = []
            at = -1  # the last byte of the piece
            for word in sentence:
                told = word.encode("utf-8", "surrogatepass") or b" "
                shortened += len(told) > length
                told = told[:length]
                if piece and at + 1 + len(told) >= length:
                    data.append(b" ".join(piece))
                    owner.append(number)
                    words.append(len(ends))
                    piece, at = [], -1
                at += len(told) + bool(piece)
                piece.append(told)
                ends.append(at)
            if piece:
                data.append(b" ".join(piece))
                owner.append(number)
                words.append(len(ends))
        owners = np.array(owner, dtype=np.int64)
        return cls(
            data=np.frombuffer(b"".join(data), np.uint8),
            bounds=np.cumsum([0, *map(len, data)]),
            ends=np.array(ends, dtype=np.int64),
            word_bounds=np.array(words),
            owner=owners,
            divided=len(np.unique(owners[1:][owners[1:] == owners[:-1]])),
            shortened=shortened,
        )

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def longest(self) -> int:
        """Bytes of the longest piece."""
        return int(np.diff(self.bounds).max())

    def batch(self, pieces: np.ndarray, tags: np.ndarray | None = None) -> Batch:
        """Return pieces as a batch, as long as its longest; targets at the last bytes of words.

        Args:
            pieces: their numbers.
            tags: the class of each word of all pieces; ``UNKNOWN`` without them.
        """
        sizes = np.diff(self.bounds)[pieces]
        shape = (len(pieces), int(sizes.max(initial=1)))
        x, targets = np.zeros(shape, np.int64), np.full(shape, IGNORED)
        for row, piece in enumerate(pieces):
            x[row, : sizes[row]] = self.data[self.bounds[piece] : self.bounds[piece + 1]]
            words = slice(self.word_bounds[piece], self.word_bounds[piece + 1])
            targets[row, self.ends[words]] = UNKNOWN if tags is None else tags[words]
        mask = np.arange(shape[1]) < sizes[:, None]
        return Batch(
            torch.from_numpy(x),
            torch.from_numpy(targets),
            None if mask.all() else torch.from_numpy(mask),
        )

    def remarks(self, length: int) -> list[str]:
        """Return remarks on what ``length`` did to the sentences."""
        found = []
        if self.divided:
            found.append(
                f"sentences longer than {length} bytes, read in pieces of whole words (a tag does not see beyond its "
                f"piece): {self.divided}"
            )
        if self.shortened:
            found.append(f"words longer than {length} bytes, which lose their last bytes: {self.shortened}")
        return found


def words_in(batch: Batch) -> list[list[bytes]]:
    """Return the words of each piece in a batch."""
    asked = batch.asked
    assert asked is not None
    found = []
    for row, places in zip(batch.x.numpy().astype(np.uint8), asked.numpy()):
        ends = np.flatnonzero(places)
        starts = np.concatenate([[0], ends[:-1] + 2])
        found.append([row[start : end + 1].tobytes() for start, end in zip(starts, ends)])
    return found
