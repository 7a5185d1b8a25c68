"""A predictor of labelled texts without a sequence model: a linear model on words and n-grams of characters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from anyformer.tasks.references import FIT_SAMPLES, FittedReference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch
    from anyformer.tokenizers import TextTokenizer

MOST_TOKENS = 2_000_000
"""The most tokens of all texts that it is fitted on, padding included."""
VALID_TEXTS = 1000
"""Validation texts by which the penalty is chosen."""
WORDS, CHARACTERS = (1, 2), (2, 4)
"""Shortest and longest n-grams."""
MOST_NGRAMS = 30_000
"""The most n-grams of each kind that are told apart, the most frequent ones."""
WORD = r"\w+|[^\w\s]|^\s+$"
"""A word, a mark, or a text that is blank."""


class TextLinear(FittedReference):
    """Ridge or logistic regression on tf-idf of words and of n-grams of characters, of texts as they are read.

    Counts are 1 + log(count), times the log of the inverse share of the training texts that have the n-gram (Salton and
    Buckley 1988); words and characters each have rows of unit length.

    Args:
        tokenizer: the user's, whose tokens are texts; None for bytes.
    """

    penalties = (0.01, 0.1, 1.0)
    valid_items = VALID_TEXTS

    def __init__(self, tokenizer: TextTokenizer | None = None) -> None:
        super().__init__(
            "tf-idf", "a linear model on words and n-grams of characters by tf-idf, penalty by validation"
        )
        self.tokenizer = tokenizer

    def fit(self, task: Task) -> TextLinear:
        """Fit the n-grams, and one model for each penalty, of which the best on the validation split is kept."""
        self.samples = max(1, min(FIT_SAMPLES, MOST_TOKENS // task.train_length))
        super().fit(task)
        if self.parameters is not None:
            self.parameters += sum(len(one.idf_) for one in self.vectorizers)
        if self.samples < task.size("train"):
            self.description += f", fitted on {self.samples:,} of the training texts"
        return self

    def sampled(self, task: Task) -> tuple[Any, np.ndarray]:
        """Return the features and the targets ``(B, M)`` of training texts, on which the n-grams are fitted too."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        shared = {"max_features": MOST_NGRAMS, "sublinear_tf": True, "dtype": np.float64}
        found = [
            TfidfVectorizer(token_pattern=WORD, ngram_range=WORDS, **shared),
            TfidfVectorizer(analyzer="char", lowercase=False, ngram_range=CHARACTERS, **shared),
        ]
        texts = self.texts(task.train_sample(self.samples))
        self.vectorizers = [one for one in found if _fits(one, texts)]
        return super().sampled(task)

    def features(self, batch: Batch) -> sparse.csr_matrix:
        """Return tf-idf ``(B, features)``."""
        texts = self.texts(batch)
        return sparse.hstack([one.transform(texts) for one in self.vectorizers], format="csr")

    def texts(self, batch: Batch) -> list[str]:
        """Return the texts of the batch; of a character that was cut, a mark in its place."""
        tokens = batch.x.numpy()
        sizes = np.full(len(tokens), tokens.shape[1]) if batch.mask is None else batch.mask.sum(1).numpy()
        rows = [row[:size] for row, size in zip(tokens, sizes)]
        if self.tokenizer is not None:
            return [self.tokenizer.decode(row.tolist()) or " " for row in rows]
        return [row.astype(np.uint8).tobytes().decode("utf-8", "replace") for row in rows]


def _fits(vectorizer: Any, texts: list[str]) -> bool:
    """Fit a vectorizer; returns False if no text has one of its n-grams, as where each is a single character."""
    try:
        vectorizer.fit(texts)
    except ValueError as error:
        if "empty vocabulary" not in str(error) and "no terms remain" not in str(error).lower():
            raise
        return False
    return True
