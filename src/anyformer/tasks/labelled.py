"""Sequences with a class, labels or numbers: classification and regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyformer.errors import DataError
from anyformer.layers.rocket import TAPS
from anyformer.metrics import create_metric
from anyformer.objectives import Classify, Labels, Regress
from anyformer.questions import Question
from anyformer.schema import Values
from anyformer.spelling import option
from anyformer.tasks.base import Reference, Split, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import Category, describe_categories
from anyformer.tasks.encoding import Encoding, Standard, as_tensors
from anyformer.tasks.label_sets import about_labels, rarest_of, without_unknown
from anyformer.tasks.labelled_encoding import SequenceEncoding
from anyformer.tasks.references import references_for
from anyformer.tasks.series_references import series_references
from anyformer.tasks.splits import keys_of, split_alike, split_as_given
from anyformer.tasks.text_references import TextLinear
from anyformer.tasks.trees import MOST_CLASSES, BoostedTrees
from anyformer.tokenizers import TextTokenizer

FEWEST = 20
MOST = 0.8
"""Largest share of one class that is not pointed out."""


SERIES = ("rocket", "inceptiontime", "s4", "transformer")
"""Models that are compared by default where series of numbers have labels."""
WHY_SERIES = (
    "rocket counts how often many fixed shapes occur and learns from few series, inceptiontime learns short shapes "
    "wherever they are, s4 follows slow changes by a state space, and attention compares all steps with each other"
)
LONG = 512
"""Length of series from which on the two that read them fastest are compared by default."""
LONG_SERIES = ("rocket", "inceptiontime")
WHY_LONG = (
    "rocket counts how often many fixed shapes occur and learns from few series, inceptiontime learns short shapes "
    f"wherever they are; beside models that take a series of {LONG} steps and more step by step, or compare all steps "
    "with each other, all would be trained for few steps"
)
STEPS = ("inceptiontime", "s4", "transformer")
"""In their place where series are short, or have categories at each step."""
WHY_STEPS = WHY_SERIES[WHY_SERIES.index("inceptiontime") :]
RECORDS = ("ft_transformer", "tabular_resnet", "additive")
"""Models that are compared by default where rows of columns have labels."""
WHY_RECORDS = (
    "ft_transformer compares columns with each other by attention, tabular_resnet adds to a linear map of all of them, "
    "and additive is a sum of functions of one column each, which few rows suffice for"
)


class LabelledTask(Task):
    """One class, any of some labels, or some numbers, for each sequence.

    Equal sequences go into the same split (70, 15 and 15 %), so that no test sequence was trained on; the split is
    stratified by class. Numeric features and targets are standardised with the mean and
    deviation of the train split; errors are reported in the user's units.

    Args:
        x: ``(N, T)`` int64 tokens, or ``(N, T, F)`` float with NaN where a value is missing.
        y: ``(N,)`` integers below ``len(classes)``; ``(N, L)`` bool, which of the ``labels`` are there; or ``(N, M)``
            floats where neither is given.
        mask: ``(N, T)`` bool, or None if all sequences have length ``T``.
        classes: names of the classes.
        labels: names of the labels, of which a sequence may have any number; those that training has are kept.
        values: names of the numbers to predict.
        by_place: standardise each position of ``x`` by itself, as it is a column and not a moment in time.
        vocab_size: number of tokens.
        tokenizer: the user's, whose tokens they are.
        encoding: reads new data; what is fitted here is set in it. None if the data was not read from a file.
        texts: categories by name, ``(N, T)`` texts or None, or ``(N,)`` where each sequence is a record of its columns.
        groups: ``(N,)`` integers: sequences of the same group are not independent, and go into the same split.
        split: ``(N,)`` names of the splits that the user put the sequences into, in place of the above.
        balanced: weigh the loss of each class by the inverse of its frequency in training.
        name, seed: of the task.
        facts, remarks: from the reader of the data.
    """

    noun: str = "sequence"
    """The word for a sample in messages."""
    labels: list[str] | None = None
    """Names of the labels, if these are told."""
    _of_file: bool = False

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        name: str,
        mask: np.ndarray | None = None,
        classes: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        values: Sequence[str] = (),
        by_place: bool = False,
        vocab_size: int | None = None,
        tokenizer: TextTokenizer | None = None,
        encoding: SequenceEncoding | None = None,
        texts: Mapping[str, np.ndarray] | None = None,
        groups: np.ndarray | None = None,
        split: np.ndarray | None = None,
        balanced: bool = False,
        seed: int = 0,
        facts: dict[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        lost = self._begin(name, seed, len(x), classes, values, balanced, facts, remarks, labels)
        self.train_length = x.shape[1]
        self._mask, self._groups = None if mask is None or mask.all() else mask, groups
        texts = dict(texts or {})
        samples, strata = [x, *texts.values()], y if classes is not None else None
        if labels is not None:
            strata = rarest_of(y)
        if split is None:
            self._index = split_alike(samples, mask, strata, seed, name, lost, groups=groups)
        else:
            self._index = split_as_given(split, samples, mask, strata, seed, name, self._remarks)
        if labels is not None:
            y, self.labels = without_unknown(y, labels, self._index["train"], self.noun, self._remarks)
        self.vocab_size, self.tokenizer = vocab_size, tokenizer
        self.digest = "" if tokenizer is None else tokenizer.digest
        self._of_file = encoding is not None
        fitted = encoding or SequenceEncoding(kind="")
        if vocab_size is None:
            fitted = fitted.model_copy(update=self._fit_inputs(x, texts, by_place))
        lengths = self._lengths() if fitted.record is None else None
        fitted = fitted.model_copy(update={"vocab_size": vocab_size, "lengths": lengths})
        self._fitted, self._x = fitted, fitted.inputs(x, texts)
        self.stream = fitted.stream()
        if self.stream is not None and self.stream.shape == "record":
            self.train_length = len(self.stream.fields)
            self.candidates, self.why, self.noun = RECORDS, WHY_RECORDS, "row"
        elif self.stream is None and vocab_size is None:
            assert isinstance(self._x, np.ndarray)
            self.num_features = self._x.shape[2]
        if vocab_size is None and (self.stream is None or self.stream.shape == "sequence"):
            counted = self.stream is None and fitted.record is None and self.train_length >= TAPS
            series = (LONG_SERIES, WHY_LONG) if self.train_length >= LONG else (SERIES, WHY_SERIES)
            self.candidates, self.why = series if counted else (STEPS, WHY_STEPS)
        self._set_targets(y)

    def _begin(
        self,
        name: str,
        seed: int,
        count: int,
        classes: Sequence[str] | None,
        values: Sequence[str],
        balanced: bool,
        facts: dict[str, Any] | None,
        remarks: Sequence[str],
        labels: Sequence[str] | None = None,
    ) -> str:
        """Set the facts that come from the reader, and return the remarks on samples that were left out.

        Raises:
            DataError: there are too few samples or classes.
            ValueError: classes have weights, and there are none.
        """
        self.name, self.seed, self._values = name, seed, list(values)
        self.classes = None if classes is None else list(classes)
        self._balanced = balanced
        if balanced and classes is None:
            what = "numbers" if labels is None else "sets of labels"
            raise ValueError(f"{option('class_weights')} does not apply to {what}, which are predicted here")
        self._facts, self._remarks = dict(facts or {}), list(remarks)
        check_enough(name, count, self.noun)
        lost = "; ".join(["", *(one for one in remarks if "left out" in one or "lose the last" in one)])
        if self.classes is not None and len(self.classes) < 2:
            raise DataError(
                f"{name}: the target has only one value, {self.classes[0]!r}: nothing to learn{lost}"
            )
        return lost

    def _lengths(self) -> tuple[int, int]:
        """Return the fewest and the most elements of a training sequence."""
        if self._mask is None:
            return self.train_length, self.train_length
        counts = self._mask[self._index["train"]].sum(1)
        return int(counts.min()), int(counts.max())

    def _set_targets(self, y: np.ndarray) -> None:
        """Set the targets of the samples, the objective and the metric."""
        if self.classes is not None:
            self._set_classes(y, self._values)
        elif self.labels is not None:
            self._set_labels(y, self.labels)
        else:
            self._set_values(y, self._values)

    def _fit_inputs(self, x: np.ndarray, texts: Mapping[str, np.ndarray], by_place: bool) -> dict[str, Any]:
        """Return what encodes the inputs, fitted on the train split."""
        train, standard = self._index["train"], None
        known = None if self._mask is None else self._mask[train]
        if x.size:
            marks = bool(np.isnan(x).any())
            standard = Standard.fit(x[train].astype(np.float64), known, by_place=by_place, marks=marks)
        real = {name: t if self._mask is None else t[self._mask] for name, t in texts.items()}
        fit = {name: t[train] if known is None else t[train][known] for name, t in texts.items()}
        categories = [Category.fit(name, t) for name, t in fit.items()]
        for category in categories:
            if not category.values:
                raise DataError(
                    f"{self.name}: no value of {category.name!r} is there twice in the training rows, so that nothing "
                    f"can be learnt of one; {option('drop', category.name)} leaves it out"
                )
        describe_categories(categories, real, self._remarks)
        return {"standard": standard, "categories": categories}

    def _set_classes(self, y: np.ndarray, values: Sequence[str]) -> None:
        assert self.classes is not None
        self._y = y.astype(np.int64)
        self._scale: np.ndarray | None = None
        self.objective = Classify(len(self.classes), weights=self._weights() if self._balanced else None)
        self.metric = create_metric("accuracy", self.question)
        what = values[0] if values else "class"
        self.title = f"Tell which of {len(self.classes)} values {what} has."
        rare = [name for name, count in zip(self.classes, np.bincount(self._y)) if count < 3]
        if rare:
            self._remarks.append(f"fewer than 3 {self.noun}s have the class {', '.join(map(repr, rare))}")
        self._remarks.extend(imbalance(self.classes, np.bincount(self._y), self.noun))
        unseen = set(range(len(self.classes))) - set(self._y[self._index["train"]].tolist())
        if unseen:
            names = ", ".join(repr(self.classes[i]) for i in sorted(unseen))
            self._remarks.append(f"no training {self.noun} has the class {names}")
        tested = set(self._y[self._index["test"]].tolist())
        if len(tested) == 1:
            self._remarks.append(
                f"all {len(self._index['test'])} test {self.noun}s have the class {self.classes[tested.pop()]!r}: "
                "whatever always tells it is right, and the test can show nothing else"
            )

    def _set_labels(self, there: np.ndarray, labels: Sequence[str]) -> None:
        train = there[self._index["train"]]
        if not len(labels) or (train == train[:1]).all():
            raise DataError(f"{self.name}: all training {self.noun}s have the same labels: nothing to learn")
        self._y, self._scale = there.astype(np.float32), None
        self.objective = Labels(len(labels), names=tuple(labels))
        self.metric = create_metric("micro_f1", self.question)
        others = ("macro_f1", "mean_average_precision")
        self.beside = tuple(create_metric(other, self.question) for other in others)
        self.beside_items = len(self._index["test"])
        self.title = f"Tell which of {len(labels)} labels each {self.noun} has."
        self._remarks.extend(about_labels(there, labels, self.noun))
        for split in ("valid", "test"):
            if not there[self._index[split]].any():
                raise DataError(
                    f"{self.name}: no {self.noun} of the {split} split has a label that training has"
                )

    def _weights(self) -> tuple[float, ...]:
        """Return a weight for each class: samples over classes times its samples, in training (King and Zeng 2001)."""
        assert self.classes is not None
        counts = np.bincount(self._y[self._index["train"]], minlength=len(self.classes))
        self._remarks.append(
            "in training the loss of each class has a weight inverse to its frequency, as was asked"
        )
        weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
        return tuple(float(weight) for weight in weights)

    def _set_values(self, y: np.ndarray, values: Sequence[str]) -> None:
        train = y[self._index["train"]].astype(np.float64)
        self._shift, scale = train.mean(0), train.std(0)
        alike = train.min(0) == train.max(0)  # rounding may make the deviation of these more than 0
        if alike.any():
            which = values[int(np.argmax(alike))] if values else "the target"
            raise DataError(
                f"{self.name}: {which} is the same in all training {self.noun}s: nothing to learn"
            )
        self._scale = scale
        self._y = (y - self._shift) / scale
        self.objective = Regress(y.shape[1])
        self.metric = create_metric("mae", self.question)
        self.title = f"Predict {', '.join(values[:3]) or 'numbers'} of each {self.noun}."

    def size(self, split: Split, length: int | None = None) -> int:
        """Return the number of sequences in the split."""
        return len(self._index[split])

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        rows = self._index[split][index]
        mask = None if self._mask is None else torch.from_numpy(self._mask[rows])
        x = self._inputs(rows)
        if self._scale is None:
            return Batch(x, torch.from_numpy(self._y[rows]), mask)
        shift, scale = (torch.from_numpy(a[None]) for a in (self._shift, self._scale))
        shape = (len(rows), len(self._scale))
        y = torch.from_numpy(self._y[rows].astype(np.float32))
        return Batch(x, y, mask, shift.expand(shape), scale.expand(shape))

    def _inputs(self, rows: np.ndarray) -> Tensor | Values:
        """Return a model's inputs of these samples."""
        return as_tensors(self._x, rows)

    def _strata(self, split: Split, length: int) -> np.ndarray | None:
        """Return the class, or the rarest label, of each sequence; None if numbers are predicted."""
        if self.labels is not None:
            return rarest_of(self._y[self._index[split]] > 0)
        return self._y[self._index[split]] if self.classes is not None else None

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """Return one cluster for equal sequences, as their predictions are equal, and for those of one group."""
        rows = self._index[split]
        codes: dict[bytes, int] = {}
        parts = list(self._x.values()) if isinstance(self._x, dict) else [self._x]
        mask, groups = (None if one is None else one[rows] for one in (self._mask, self._groups))
        keys = keys_of([part[rows] for part in parts], mask, groups=groups)
        return np.array([codes.setdefault(key, len(codes)) for key in keys])

    @property
    def question(self) -> Question:
        """The class, the labels or the numbers of each sequence."""
        field = self._values[0] if len(self._values) == 1 else ""
        return replace(self.objective.question, field=field)

    @property
    def encoding(self) -> Encoding | None:
        """The encoding of new sequences; None if these were not read from a file."""
        return self._fitted.model_copy(update=self._told_by_targets()) if self._of_file else None

    def _told_by_targets(self) -> dict[str, Any]:
        """Return the fields of an encoding that are about targets."""
        return {
            "targets": self._values,
            "classes": self.classes,
            "labels": self.labels,
            "shift": None if self._scale is None else self._shift.tolist(),
            "scale": None if self._scale is None else self._scale.tolist(),
        }

    def references(self) -> list[Reference]:
        """The best constant, a linear model; for the user's data, tf-idf of texts, else boosted trees and more."""
        found, few = references_for(self), len(self.classes or self.labels or ()) <= MOST_CLASSES
        if self._fitted.of_texts:
            return [*found, TextLinear(self.tokenizer)]
        if not self._of_file or self.vocab_size is not None:
            return found
        trees = [BoostedTrees(whole=self._fitted.record is not None)] if few else []
        return [*found, *trees, *self._of_series()[0]]

    def _of_series(self) -> tuple[list[Reference], list[str]]:
        """Return the references of series of numbers, and remarks on those left out; nothing for other data."""
        if not self._of_file or self.num_features is None or self._fitted.record is not None:
            return [], []
        return series_references(self, ragged=self._mask is not None)

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        facts = {**super().describe(), **self._facts}
        if self.classes is not None:
            facts["classes"] = dict(
                zip(self.classes, np.bincount(self._y, minlength=len(self.classes)).tolist())
            )
        if self.labels is not None:
            facts["labels"] = dict(zip(self.labels, self._y.sum(0).astype(int).tolist()))
        return facts

    def notes(self) -> list[str]:
        """Return remarks on decisions about the data and on missing values."""
        return [*self._remarks, *self._of_series()[1]]


def check_enough(name: str, count: int, noun: str = "sequence") -> None:
    """Raise ``DataError`` if ``count`` sequences are too few to split."""
    if count < FEWEST:
        raise DataError(f"{name}: {count} labelled {noun}s are too few; at least {FEWEST} are needed")


def imbalance(classes: Sequence[str], counts: np.ndarray, noun: str = "sequence") -> list[str]:
    """Return a remark if one class has more than ``MOST`` of all samples; no remark otherwise."""
    most, share = int(np.argmax(counts)), counts.max() / counts.sum()
    if share <= MOST:
        return []
    balanced = ["balanced_accuracy", "f1", "average_precision", *["auc"] * (len(classes) == 2)]
    return [
        f"{100 * share:.1f} % of the {noun}s have the class {classes[most]!r}, so that always telling it is as often "
        f"right; {' or '.join(option('metric', name) for name in balanced)} gives all classes the same weight"
    ]
