"""Predictors of a text from another without a model."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

from anyformer.metrics import edits, texts_of
from anyformer.questions import IGNORED
from anyformer.tasks.base import Reference, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.pair_encoding import STOP, TOKENS, as_tokens

NEAREST = 50
"""Training sources whose distance is measured: those that share most n-grams."""
SEARCHED = 20_000
"""The most training sources among which the nearest is looked for."""
ROWS = 16
"""Sources that are looked up at a time, so that memory stays small."""


class Writer(Reference):
    """A predictor that answers a source with a text.

    Its outputs are those of a model that is sure of this text, as far as it was right in validation: a byte has the
    share of bytes that were right there, and the others the rest.
    """

    sure = 1.0

    @abstractmethod
    def texts(self, sources: list[str]) -> list[str]:
        """Return the answers to sources."""

    def learn(self) -> None:
        """Prepare for :meth:`texts`."""

    def fit(self, task: Task) -> Writer:
        """Learn, and count the right bytes of the validation split."""
        self.length = task.train_length
        self.learn()
        right = total = 0
        for batch in task.eval_batches("valid", 256):
            asked = batch.targets != IGNORED
            right += int(((self.decode(batch)[:, : asked.shape[1]] == batch.targets) & asked).sum())
            total += int(asked.sum())
        self.sure = (right + 1) / (total + TOKENS)
        return self

    def decode(self, batch: Batch) -> Tensor:
        """Return the tokens of the answers ``(B, length)``, ``IGNORED`` behind the end."""
        assert batch.source is not None and isinstance(batch.source.inputs, Tensor)
        assert batch.source.mask is not None
        sources = texts_of(batch.source.inputs.masked_fill(~batch.source.mask, -1), STOP)
        tokens = as_tokens(self.texts(sources), self.length - 1)[0]
        return torch.from_numpy(np.where(tokens < 0, IGNORED, tokens).astype(np.int64))

    def predict(self, batch: Batch) -> Tensor:
        """Return log-probabilities ``(B, T, TOKENS)``."""
        told = self.decode(batch)[:, : batch.x.shape[1]]
        shares = torch.full((*told.shape, TOKENS), (1 - self.sure) / (TOKENS - 1), dtype=torch.float64)
        shares.scatter_(2, told.clamp(min=0)[..., None], self.sure)
        return shares.log().float()


class CopySource(Writer):
    """The source itself."""

    def __init__(self) -> None:
        super().__init__("copy", "the source as it is")

    def texts(self, sources: list[str]) -> list[str]:
        """Return the sources."""
        return sources


class FrequentTarget(Writer):
    """The most frequent of the targets of the train split."""

    def __init__(self, targets: Sequence[str]) -> None:
        super().__init__("most frequent", "always the most frequent target")
        self.targets = targets

    def learn(self) -> None:
        """Count the targets; of equally frequent ones, the first by the alphabet counts."""
        counts = Counter(self.targets)
        self.answer = min(counts, key=lambda text: (-counts[text], text))

    def texts(self, sources: list[str]) -> list[str]:
        """Return the same for each."""
        return [self.answer] * len(sources)


class Dictionary(Writer):
    """The target of the equal, or else of the nearest, training source.

    The nearest is that of the fewest edits among the :data:`NEAREST` which share most 2- and 3-grams of characters with
    it, out of :data:`SEARCHED` spread evenly; of equally near ones, the first by the alphabet.
    """

    def __init__(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        super().__init__("dictionary", "the target of the training source with the fewest edits")
        self.pairs = (sources, targets)

    def learn(self) -> None:
        """Keep the most frequent target of each training source."""
        counts: dict[str, Counter[str]] = {}
        for source, target in zip(*self.pairs, strict=True):
            counts.setdefault(source, Counter())[target] += 1
        self.known = {
            source: min(found, key=lambda text: (-found[text], text))
            for source, found in sorted(counts.items())
        }
        every = np.unique(np.linspace(0, len(self.known) - 1, min(SEARCHED, len(self.known))).astype(int))
        self.sources = np.array(list(self.known), dtype=object)[every]
        self.grams = CountVectorizer(analyzer="char", ngram_range=(2, 3), preprocessor=_within_blanks)
        self.table = self.grams.fit_transform(self.sources).T.tocsr()

    def texts(self, sources: list[str]) -> list[str]:
        """Return the targets of the nearest sources."""
        new = [text for text in dict.fromkeys(sources) if text not in self.known]
        nearest: dict[str, str] = {}
        for start in range(0, len(new), ROWS):
            part = new[start : start + ROWS]
            shared = (self.grams.transform(part) @ self.table).toarray()
            nearest |= {text: self._nearest(text, counts) for text, counts in zip(part, shared, strict=True)}
        return [self.known[nearest.get(text, text)] for text in sources]

    def _nearest(self, text: str, counts: np.ndarray) -> str:
        order = np.sort(np.argsort(-counts, kind="stable")[:NEAREST])
        near = self.sources[order].tolist()
        found: str = near[int(np.argmin(edits(text, near)))]
        return found


def _within_blanks(text: str) -> str:
    """Return a text whose first and last character are in n-grams of their own."""
    return f" {text} "
