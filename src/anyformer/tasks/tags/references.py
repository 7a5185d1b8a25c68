"""Predictors of tags without a sequence model."""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from anyformer.questions import IGNORED
from anyformer.tasks.base import Reference
from anyformer.tasks.batch import Batch
from anyformer.tasks.references import score_reference
from anyformer.tasks.tags.pieces import words_in

if TYPE_CHECKING:
    from anyformer.tasks.base import Task

FIT_WORDS = 20_000
"""Number of words that the linear model is fitted on."""
_FEATURES = 2**14
"""Number of features of words, the most frequent ones."""
_ABSENT = -30.0


class _Tagger(Reference):
    """A predictor of the tag of each word."""

    num_tags: int

    def predict(self, batch: Batch) -> Tensor:
        """Return logits ``(B, T, num_tags)``, zero where no word ends."""
        asked = batch.asked
        assert asked is not None
        logits = torch.zeros(*batch.targets.shape, self.num_tags)
        logits[asked] = torch.from_numpy(self.scores(words_in(batch))).float()
        return logits

    def scores(self, sentences: list[list[bytes]]) -> np.ndarray:
        """Return logits ``(words, num_tags)`` of all words of the sentences."""
        raise NotImplementedError


class FrequentTag(_Tagger):
    """The most frequent tag of the train split, for every word."""

    def __init__(self) -> None:
        super().__init__("frequent tag", "always the most frequent tag")

    def fit(self, task: Task) -> FrequentTag:
        """Count the tags."""
        targets = task.train_sample(10**6).targets
        self.num_tags = task.objective.num_outputs
        counts = torch.bincount(targets[targets != IGNORED], minlength=self.num_tags)
        self.logits = np.log(counts.numpy() + 1e-6)
        return self

    def scores(self, sentences: list[list[bytes]]) -> np.ndarray:
        """Return the same for all."""
        return np.tile(self.logits, (sum(map(len, sentences)), 1))


class TagOfWord(_Tagger):
    """The tag that the word most often had in the train split; the most frequent one for unknown words."""

    def __init__(self) -> None:
        super().__init__("tag of the word", "the tag that the word most often had in training")

    def fit(self, task: Task) -> TagOfWord:
        """Count the tags of each word."""
        batch = task.train_sample(10**6)
        self.num_tags = task.objective.num_outputs
        counts: dict[bytes, Counter[int]] = defaultdict(Counter)
        tags = iter(batch.targets[batch.targets != IGNORED].tolist())
        for words in words_in(batch):
            for word in words:
                counts[word][next(tags)] += 1
        self.logits = FrequentTag().fit(task).logits
        self.tags = {word: found.most_common(1)[0][0] for word, found in counts.items()}
        return self

    def scores(self, sentences: list[list[bytes]]) -> np.ndarray:
        """Return a logit that is the largest for each word's own tag."""
        words = [word for one in sentences for word in one]
        found = np.tile(self.logits, (len(words), 1))
        for place, word in enumerate(words):
            if word in self.tags:
                found[place, self.tags[word]] = found[place].max() + 5
        return found


class LinearTagger(_Tagger):
    """Logistic regression on each word, its beginning, end and shape, and on its neighbours."""

    penalties = (0.1, 1.0)

    def __init__(self) -> None:
        super().__init__(
            "linear",
            "a linear model of the word, its shape and its neighbours, penalty by validation",
        )

    def fit(self, task: Task) -> LinearTagger:
        """Fit one model for each penalty and keep the best on the validation split."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression

        self.num_tags = task.objective.num_outputs
        self.counter = CountVectorizer(analyzer=list, max_features=_FEATURES)
        batch = task.train_sample(10**6)
        sentences, tags = words_in(batch), batch.targets[batch.targets != IGNORED].numpy()
        sentences, tags = _some(sentences, tags)
        x = self.counter.fit_transform(told for words in sentences for told in features(words))
        fitted: list[tuple[float, Any]] = []
        for penalty in self.penalties:
            self.model: Any = int(tags[0])
            if len(np.unique(tags)) > 1:
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore", ConvergenceWarning
                    )  # stopping early is one more form of penalty
                    self.model = LogisticRegression(C=1 / penalty, max_iter=60, tol=1e-3).fit(x, tags)
            score = task.metric.info.sign * score_reference(self, task, "valid")
            fitted.append((-np.inf if np.isnan(score) else score, self.model))
        self.model = max(fitted, key=lambda pair: pair[0])[1]
        return self

    def scores(self, sentences: list[list[bytes]]) -> np.ndarray:
        """Return log probabilities; of tags that were not trained on a very low one."""
        found = np.full((sum(map(len, sentences)), self.num_tags), _ABSENT)
        if isinstance(self.model, int):
            found[:, self.model] = 0
        else:
            told = self.model.predict_proba(
                self.counter.transform(told for words in sentences for told in features(words))
            )
            found[:, self.model.classes_] = np.log(told + 1e-12)
        return found


def features(words: list[bytes]) -> Iterator[list[str]]:
    """Yield the features of each word of a sentence."""
    texts = [word.decode("utf-8", "replace") for word in words]
    shapes = [shape(text) for text in texts]
    folded = ["<s>", "<s>", *(text.casefold() for text in texts), "</s>", "</s>"]
    for place, text in enumerate(texts):
        own = folded[place + 2]
        found = ["bias", f"w={own}", f"W={text}", f"shape={shapes[place]}"]
        found += [f"p{n}={own[:n]}" for n in range(1, 5)] + [f"s{n}={own[-n:]}" for n in range(1, 5)]
        found += [f"{step:+}={folded[place + 2 + step]}" for step in (-2, -1, 1, 2)]
        found += [
            f"{step:+}shape={shapes[place + step]}" for step in (-1, 1) if 0 <= place + step < len(texts)
        ]
        yield [*found, f"-1={folded[place + 1]} w={own}", f"w={own} +1={folded[place + 3]}"]


def shape(word: str) -> str:
    """Return the kinds of a word's characters, repeated ones once: ``"Xx"``, ``"d.d"``."""
    kinds = ["X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word]
    return re.sub(r"(.)\1+", r"\1", "".join(kinds))


def _some(sentences: list[list[bytes]], tags: np.ndarray) -> tuple[list[list[bytes]], np.ndarray]:
    """Return about ``FIT_WORDS`` words in whole sentences, evenly spread."""
    step = max(1, round(len(tags) / FIT_WORDS))
    bounds = np.cumsum([0, *map(len, sentences)])
    kept = range(0, len(sentences), step)
    return [sentences[i] for i in kept], np.concatenate([tags[bounds[i] : bounds[i + 1]] for i in kept])
