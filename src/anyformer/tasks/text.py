"""Byte language modelling over text."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from anyformer.errors import DataError
from anyformer.metrics import create_metric
from anyformer.objectives import NextToken
from anyformer.questions import IGNORED, Question
from anyformer.tasks import register_task
from anyformer.tasks.base import SPLITS, Reference, Split, Task, check_integer
from anyformer.tasks.batch import Batch
from anyformer.tasks.compression import Xz
from anyformer.tasks.ngrams import BestNGram, NGram
from anyformer.tasks.subsets import neighbours

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
EVAL_BYTES = 65_536
_SHORTEST_TEXT = 1000
ORDERS = (3, 4, 5, 6)
"""Orders of n-grams that the validation split chooses from."""
_STRETCH = 65_536
"""Bytes of a text in a row that is counted."""
_DOCUMENTS = 16
"""With this many documents or more, clusters are documents; otherwise blocks of neighbouring windows."""
_BLOCKS = 32


@dataclass(frozen=True)
class Document:
    """A piece of text, which is not divided between splits if there are enough others."""

    name: str
    data: bytes


class ByteTask(Task):
    """Predict each byte of a text from those before it.

    The text ``abcdefg`` at length 4 gives windows such as::

        x         98   99  100  101        "bcde"
        target    99  100  101  102        "cdef"

    Whole documents go into one split (80, 10 and 10 % of the bytes). With fewer than 10, or one that outweighs the
    rest, each is instead cut into three contiguous regions. Training windows start anywhere in the train split;
    evaluation covers fixed stretches of a split, the same bytes at every length.

    Args:
        documents: the text, in pieces.
        name, title: of the task.
        length: bytes in a window; by default 256, or less where the text is short.
        split: the split that the user put each document into, in place of the above.
        seed: fixes the split and the order of training.
        remarks: notes from the reader of the text.
    """

    candidates = ("ngram_gpt", "gpt", "mamba depth=2", "transformer")
    why = (
        "ngram_gpt adds to what counts of the last few tokens tell; gpt and mamba read these by short convolutions, "
        "and what lies further back by attention and selection; the transformer is the plain one"
    )
    vocab_size: int | None = 256
    unit: ClassVar[str] = "byte"
    """The word for an element in messages."""

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        name: str,
        title: str,
        length: int | None = None,
        split: Sequence[Split] | None = None,
        seed: int = 0,
        remarks: Sequence[str] = (),
    ) -> None:
        self.name, self.title, self.seed = name, title, seed
        self._remarks = list(remarks)
        if split is None:
            documents = self._without_duplicates(documents)
        total = sum(len(document.data) for document in documents)
        if total < _SHORTEST_TEXT:
            raise DataError(
                f"{name}: {total} bytes of text are too short; at least {_SHORTEST_TEXT} are needed"
            )
        if split is None:
            self.split_by, self._pieces = _split_documents(documents, seed)
        else:
            self.split_by, self._pieces = "as given", self._as_given(documents, split)
        coded = {split: self._coded(split, pieces) for split, pieces in self._pieces.items()}
        self._data = {split: data for split, (data, _) in coded.items()}
        self._counts = {split: counts for split, (_, counts) in coded.items()}
        self.train_length = self._choose_length(length)
        self._spare = min(len(self._data["valid"]), len(self._data["test"])) - 1
        self.lengths = tuple(
            n * self.train_length for n in (2, 4) if 2 * n * self.train_length <= self._spare
        )
        assert self.vocab_size is not None
        self.objective = NextToken(self.vocab_size)
        self.metric = create_metric("bits_per_byte", self.question)

    def _without_duplicates(self, documents: Sequence[Document]) -> list[Document]:
        kept = {document.data: document for document in reversed(documents)}
        unique = [document for document in documents if kept[document.data] is document and document.data]
        if len(unique) < len(documents):
            self._remarks.append(f"{len(documents) - len(unique)} empty or repeated texts left out")
        return unique

    def _as_given(self, documents: Sequence[Document], split: Sequence[Split]) -> dict[Split, list[Document]]:
        """Return the documents of the user's splits, in order; without a validation split, training gives its end."""
        pieces: dict[Split, list[Document]] = {
            name: [one for one, where in zip(documents, split) if where == name and one.data]
            for name in SPLITS
        }
        for name in ("train", "test"):
            if not pieces[name]:
                raise DataError(f"{self.name}: the {name} split that was given has no text")
        if not pieces["valid"]:
            pieces["train"], pieces["valid"] = _without_end(pieces["train"], 1 - SHARES["valid"])
            share = f"{100 * SHARES['valid']:.0f} %"
            self._remarks.append(
                f"no validation split is given: the last {share} of the training text become it"
            )
        known = {document.data for document in pieces["train"]}
        for name in SPLITS[1:]:
            if again := sum(document.data in known for document in pieces[name]):
                self._remarks.append(
                    f"{again} of {len(pieces[name])} {name} texts are equal to training texts; the split is as it was "
                    "given"
                )
        return pieces

    def _coded(self, split: Split, pieces: Sequence[Document]) -> tuple[np.ndarray, np.ndarray]:
        """Return the elements of a split, its documents one behind the other, and the number in each document."""
        data = np.frombuffer(b"\n".join(piece.data for piece in pieces), np.uint8)
        return data, np.array([len(piece.data) + 1 for piece in pieces])

    def _evaluated(self, split: Split) -> int:
        """Return the most elements of a split that are evaluated."""
        return EVAL_BYTES if split == "test" else EVAL_BYTES // 2

    def _choose_length(self, length: int | None) -> int:
        spare = min(len(data) for data in self._data.values()) - 1
        if length is None:
            length = 256
            while length > 16 and 4 * length > spare:
                length //= 2
        check_integer("length", length, low=2)
        if length > spare:
            raise DataError(
                f"{self.name}: length {length} is too long; the smallest split has {spare + 1} {self.unit}s"
            )
        return length

    def size(self, split: Split, length: int | None = None) -> int:
        """Return the number of windows in a split, without overlap: at most 64 KiB in the test, half in validation."""
        length = length or self.train_length
        if split == "train":
            return (len(self._data[split]) - 1) // length
        stretch, starts = self._stretches(split)
        return len(starts) * (stretch // length)

    def _trained_on(self, split: Split, step: int, batch_size: int) -> Batch:
        """Return the batch of a training step: windows that start anywhere in the split."""
        rng = np.random.default_rng([self.seed, 29, step])
        starts = rng.integers(0, len(self._data[split]) - self.train_length, batch_size)
        return self._windows(split, starts, self.train_length)

    def _amount(self, split: Split) -> int:
        return len(self._data[split])

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        return self._windows(split, self._starts(split, index, length), length)

    def long_samples(self, splits: Sequence[Split], limit: int) -> Batch:
        """Return stretches of the texts of splits: a whole text, in neighbouring ones, or evenly spread ones of it."""
        shares = self._shares(splits, limit)
        width = min(_STRETCH, max(len(self._data[split]) - 1 for split, _ in shares))
        rows = list[torch.Tensor]()
        for split, most in shares:
            numbers = torch.from_numpy(self._data[split].astype(np.int64) + 1)
            room = -(-(len(numbers) - 1) // width)
            count = min(room, max(1, most // width))
            for row in range(count):
                start = row * room // count * width
                found = numbers[start : start + width + 1]
                rows.append(torch.nn.functional.pad(found, (0, width + 1 - len(found))))
        text = torch.stack(rows) - 1
        mask = text[:, 1:] >= 0
        return Batch(text[:, :-1].clamp_min(0), torch.where(mask, text[:, 1:], IGNORED), mask)

    def _starts(self, split: Split, index: np.ndarray, length: int) -> np.ndarray:
        """Return the first bytes of the windows with these indices."""
        if split == "train":
            return index * length
        stretch, starts = self._stretches(split)
        per_stretch = stretch // length
        found: np.ndarray = starts[index // per_stretch] + index % per_stretch * length
        return found

    def _stretches(self, split: Split) -> tuple[int, np.ndarray]:
        """Return length and starts of the stretches that are evaluated, evenly spread, without overlap."""
        stretch = max(self.train_length, *self.lengths, 0)
        room = (len(self._data[split]) - 1) // stretch
        count = min(room, max(1, self._evaluated(split) // stretch))
        return stretch, np.arange(count) * room // count * stretch

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """Return each window's document; blocks of neighbouring windows if the windows are from few documents."""
        starts = self._starts(split, np.arange(self.size(split, length)), length)
        ends = np.cumsum(self._counts[split])
        documents = np.searchsorted(ends, starts, side="right")
        if len(np.unique(documents)) >= _DOCUMENTS:
            return documents
        return neighbours(np.arange(len(starts)), shortest=1, most=_BLOCKS)

    def _windows(self, split: Split, starts: np.ndarray, length: int) -> Batch:
        data = self._data[split]
        windows = torch.from_numpy(data[starts[:, None] + np.arange(length + 1)].astype(np.int64))
        return Batch(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())

    @property
    def question(self) -> Question:
        """The next byte at each position."""
        return replace(self.objective.question, field="byte")

    def references(self) -> list[Reference]:
        """Frequencies of bytes, trigrams, xz where only bits are counted, and the n-grams that validation chooses."""
        bits_alone = self.metric.id == "bits_per_byte" and not self.beside
        return [NGram(1), NGram(3), *([Xz()] if bits_alone else []), BestNGram(ORDERS)]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {
            **super().describe(),
            "split_by": self.split_by,
            "documents": {split: len(self._pieces[split]) for split in SPLITS},
            "bytes": {split: len(self._data[split]) for split in SPLITS},
        }

    def notes(self) -> list[str]:
        """Return remarks on texts left out and on decisions made."""
        return list(self._remarks)


def _split_documents(documents: Sequence[Document], seed: int) -> tuple[str, dict[Split, list[Document]]]:
    """Return how the documents are split, in words, and the splits; whole ones go where most bytes are missing."""
    total = sum(len(document.data) for document in documents)
    pieces: dict[Split, list[Document]] = {split: [] for split in SPLITS}
    if len(documents) < 10 or max(len(document.data) for document in documents) > 0.1 * total:
        for document in documents:
            size = len(document.data)
            cuts = [0, round(SHARES["train"] * size), round((SHARES["train"] + SHARES["valid"]) * size), size]
            for split, start, end in zip(SPLITS, cuts, cuts[1:]):
                pieces[split].append(Document(document.name, document.data[start:end]))
        return "contiguous region", pieces
    filled = dict.fromkeys(SPLITS, 0)
    for document in sorted(documents, key=lambda document: _hash(document.name, seed)):
        split = min(SPLITS, key=lambda split: filled[split] / SHARES[split])
        pieces[split].append(document)
        filled[split] += len(document.data)
    return "document", pieces


def _without_end(documents: Sequence[Document], share: float) -> tuple[list[Document], list[Document]]:
    """Return a share of the text, and the rest; the document between them is cut."""
    ends = np.cumsum([len(document.data) for document in documents])
    place = int(np.searchsorted(ends, share * ends[-1]))
    cut, middle = documents[place], int(share * ends[-1]) - int(ends[place] - len(documents[place].data))
    parts = [Document(cut.name, part) for part in (cut.data[:middle], cut.data[middle:])]
    first, last = [*documents[:place], parts[0]], [parts[1], *documents[place + 1 :]]
    return [one for one in first if one.data], [one for one in last if one.data]


def _hash(text: str, seed: int) -> bytes:
    return blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()


@register_task("bytes")
def standard_library(*, length: int | None = None, max_bytes: int = 4_000_000, seed: int = 0) -> ByteTask:
    """Bytes of the Python standard library's source on this machine.

    Args:
        length: bytes in a window; 256 by default.
        max_bytes: size of the sample: whole files, none above a twentieth of it, in a fixed random order.
        seed: fixes the split and the order of training.
    """
    check_integer("max_bytes", max_bytes, low=_SHORTEST_TEXT)
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "__pycache__"}
    left_out.add("encodings")  # a hundred tables by one template, which would be in all three splits
    files = [file for file in root.rglob("*.py") if not left_out & set(file.relative_to(root).parts)]
    if not files:
        raise DataError(f"bytes: there is no Python source in {root}; give a text file or folder instead")
    names = sorted((file.relative_to(root).as_posix() for file in files), key=lambda name: _hash(name, 0))
    documents, total = [], 0
    for name in names:
        data = (root / name).read_bytes()
        if len(data) <= max_bytes // 20 and total + len(data) <= max_bytes:  # no file may outweigh the rest
            documents.append(Document(name, data))
            total += len(data)
    return ByteTask(
        documents,
        name="bytes",
        title="Predict the next byte of the Python standard library's source.",
        length=length,
        seed=seed,
    )
