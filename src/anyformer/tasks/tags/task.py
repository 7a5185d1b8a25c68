"""Sentences with a tag for each word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyformer.errors import DataError
from anyformer.metrics import create_metric, spans_of
from anyformer.objectives import Tags
from anyformer.spelling import option
from anyformer.tasks.base import SPLITS, Reference, Split, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.labelled import check_enough
from anyformer.tasks.splits import split_alike, split_as_given
from anyformer.tasks.tags.encoding import TagEncoding
from anyformer.tasks.tags.pieces import Pieces
from anyformer.tasks.tags.references import FrequentTag, LinearTagger, TagOfWord
from anyformer.tasks.tags.schemes import scheme_of

LENGTH = 512
FEW_DOCUMENTS = 20
"""With fewer documents than this, or one that outweighs the others, sentences are divided between splits one by one."""


class TaggedTask(Task):
    """The tag of each word of a sentence, read at the word's last byte.

    The words A, fox, ran with the tags DET, NOUN, VERB give ::

        x         A   _   f   o   x   _   r   a   n
        target  DET   .   .   .  NOUN .   .   .  VERB

    Whole documents go into one split (70, 15 and 15 %) if there are enough of them, otherwise sentences, equal ones
    into the same. Both are stratified by the rarest tag that they hold.

    Args:
        words: of each sentence.
        tags: of its words.
        documents: the document of each sentence, if they are known.
        split: the split that the user put each sentence into, in place of the above.
        encoding: of the file, but for the names of tags and the length.
        name, seed: of the task.
        length: the most bytes of a piece; longer sentences are divided.
        remarks: from the reader of the data.
    """

    vocab_size = 256
    sees_whole = True
    direction = "both"

    def __init__(
        self,
        words: Sequence[Sequence[str]],
        tags: Sequence[Sequence[str]],
        *,
        name: str,
        documents: Sequence[int] | None = None,
        split: Sequence[str] | None = None,
        encoding: TagEncoding | None = None,
        length: int = LENGTH,
        seed: int = 0,
        remarks: Sequence[str] = (),
    ) -> None:
        self.name, self.seed = name, seed
        self._remarks = list(remarks)
        full = [number for number, one in enumerate(words) if one]
        if len(full) < len(words):
            self._remarks.append(f"left out, as they have no words: {len(words) - len(full)} sentences")
        words, tags = [words[number] for number in full], [tags[number] for number in full]
        check_enough(name, len(words))
        self.counts = Counter(tag for one in tags for tag in one)
        self.names = tuple(sorted(self.counts))
        self._check_tags()
        self.scheme, said = scheme_of(tags)
        codes = {tag: code for code, tag in enumerate(self.names)}
        self._tags = np.array([codes[tag] for one in tags for tag in one])
        self._pieces = Pieces.of(words, length)
        self.train_length, self._length = self._pieces.longest, length
        self._encoding = encoding
        self._documents = None if documents is None else np.array(documents)[full]
        rarest = np.array([min((self.counts[tag], codes[tag]) for tag in one)[1] for one in tags])
        self._rarest = rarest
        texts = np.array(["\0".join(one) for one in words], dtype=object)
        if split is None:
            sentences = self._split(texts)
        else:
            self.split_by = "as given"
            given = np.array(split, dtype=object)[full]
            sentences = split_as_given(given, [texts], None, rarest, seed, name, self._remarks)
        owner = self._pieces.owner
        self._index = {part: np.flatnonzero(np.isin(owner, found)) for part, found in sentences.items()}
        self.objective = Tags(len(self.names), self.names)
        self.metric = create_metric(self._best_metric(tags), self.question)
        if self.metric.id != "accuracy":
            self.beside, self.beside_items = (create_metric("accuracy", self.question),), self.size("test")
        self.title = f"Tell which of {len(self.names)} tags each word has."
        self._note(said)

    def _check_tags(self) -> None:
        if len(self.names) == 1:
            raise DataError(
                f"{self.name}: all words have the tag {self.names[0]!r}: nothing to learn; {option('target')} names "
                "others"
            )
        once = sum(count == 1 for count in self.counts.values())
        if once > 100 and 2 * once > len(self.names):
            shown = ", ".join(map(repr, self.names[:3]))
            raise DataError(
                f"{self.name}: {once} of {len(self.names)} tags come once ({shown}, ...): they hardly are tags; "
                f"{option('target')} names others"
            )

    def _split(self, texts: np.ndarray) -> dict[Split, np.ndarray]:
        """Return the sentences ``(N,)`` of each split."""
        units = np.arange(len(texts))
        self.split_by = "sentence"
        if self._documents is not None:
            documents = np.unique(self._documents, return_inverse=True)[1]
            sizes = np.bincount(documents)
            if len(sizes) >= FEW_DOCUMENTS and sizes.max() <= 0.2 * len(texts):
                self.split_by, units = "document", documents
        held = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])
        whole = np.array(["\1".join(texts[unit]) for unit in held], dtype=object)
        weight = np.array([self.counts[tag] for tag in self.names])
        labels = np.array([min(self._rarest[unit], key=lambda code: weight[code]) for unit in held])
        parts = split_alike([whole], None, labels, self.seed, self.name)
        sentences = {split: np.concatenate([held[unit] for unit in parts[split]]) for split in SPLITS}
        return sentences if self.split_by == "sentence" else self._without_known(sentences, texts)

    def _without_known(
        self, sentences: dict[Split, np.ndarray], texts: np.ndarray
    ) -> dict[Split, np.ndarray]:
        """Leave out sentences of a split that are in one before it, in another document."""
        seen: set[str] = set()
        found: dict[Split, np.ndarray] = {}
        for split in SPLITS:
            found[split] = np.array(
                [number for number in sentences[split] if texts[number] not in seen], np.int64
            )
            seen.update(texts[sentences[split]])
            if not len(found[split]):
                raise DataError(f"{self.name}: all sentences of the {split} split are in training too")
        if gone := sum(len(sentences[split]) - len(found[split]) for split in SPLITS):
            self._remarks.append(
                f"sentences of validation and test that documents of training hold too, left out: {gone}"
            )
        return found

    def _best_metric(self, tags: Sequence[Sequence[str]]) -> str:
        """Return the metric that ranks: span F1 where there are spans in both splits that are scored."""
        if not self.scheme:
            return "accuracy"
        for split in SPLITS[1:]:
            if not any(
                spans_of(tags[number]) for number in np.unique(self._pieces.owner[self._index[split]])
            ):
                self._remarks.append(
                    f"no sentence of the {split} split has a span: ranked by accuracy of tags"
                )
                return "accuracy"
        return "span_f1"

    def _note(self, said: list[str]) -> None:
        names = sorted(self.names, key=lambda tag: -self.counts[tag])
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        if self.scheme:
            types = {tag.partition("-")[2] for tag in self.names} - {""}
            listed = ", ".join(sorted(types)[:8]) + (", ..." if len(types) > 8 else "")
            what = f"tags of spans ({self.scheme}) of {len(types)} type{'s' * (len(types) > 1)}: {listed}"
        else:
            what = f"{len(names)} tags, which are no spans: {shown}"
        self._remarks += [what, *said]
        count = 0 if self._documents is None else len(np.unique(self._documents))
        if self.split_by == "document":
            self._remarks.append(f"{count} documents are marked: each is in one split")
        elif count and self.split_by == "sentence":
            self._remarks.append(
                f"{count} documents are marked, too few or too unequal to keep each in one split: scores are of "
                "documents that are known in part"
            )
        self._remarks += self._pieces.remarks(self._length)
        rare = [tag for tag in self.names if self.counts[tag] < 3]
        if rare:
            self._remarks.append(f"fewer than 3 words have the tag {_listed(rare)}")
        trained = set(self._words("train").tolist())
        unseen = [tag for code, tag in enumerate(self.names) if code not in trained]
        if unseen:
            self._remarks.append(f"no word of training has the tag {_listed(unseen)}")

    def _words(self, split: Split) -> np.ndarray:
        """Return the tag of each word of a split."""
        bounds = self._pieces.word_bounds
        return np.concatenate([self._tags[bounds[piece] : bounds[piece + 1]] for piece in self._index[split]])

    def size(self, split: Split, length: int | None = None) -> int:
        """Return the number of sentences, or pieces of long ones, in the split."""
        return len(self._index[split])

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        return self._pieces.batch(self._index[split][index], self._tags)

    def _strata(self, split: Split, length: int) -> np.ndarray:
        """Return the rarest tag of each sentence."""
        return self._rarest[self._pieces.owner[self._index[split]]]

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """Return one cluster for a document, where they are marked, or for equal sentences."""
        pieces = self._index[split]
        owners = self._pieces.owner[pieces]
        if self._documents is not None:
            return self._documents[owners]
        texts: dict[bytes, int] = {}
        bounds = self._pieces.bounds
        first = {owner: piece for piece, owner in reversed(list(zip(pieces, owners)))}
        keys = [self._pieces.data[bounds[first[o]] : bounds[first[o] + 1]].tobytes() for o in owners]
        return np.array([texts.setdefault(key, len(texts)) for key in keys])

    @property
    def encoding(self) -> TagEncoding | None:
        """The encoding of new sentences; None if these were not read from a file."""
        if self._encoding is None:
            return None
        return self._encoding.model_copy(update={"names": list(self.names), "length": self._length})

    def references(self) -> list[Reference]:
        """The most frequent tag, that of each word, and a linear model of words and their neighbours."""
        return [FrequentTag(), TagOfWord(), LinearTagger()]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {
            **super().describe(),
            "scheme": self.scheme or "plain tags",
            "split_by": self.split_by,
            "words": {split: len(self._words(split)) for split in SPLITS},
            "tags": dict(self.counts.most_common()),
        }

    def notes(self) -> list[str]:
        """Return remarks on decisions about the data."""
        return list(self._remarks)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
