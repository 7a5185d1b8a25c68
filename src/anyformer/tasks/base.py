"""The interface of a task."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from anyformer.errors import DataError
from anyformer.metrics import Metric, create_metric
from anyformer.objectives import Objective
from anyformer.questions import Question
from anyformer.schema import InputFacts, SeriesWindow, StreamFacts
from anyformer.spelling import option
from anyformer.tasks.batch import Batch
from anyformer.tasks.subsets import spread_order, stratified_order
from anyformer.tokenizers import TextTokenizer

if TYPE_CHECKING:
    from anyformer.models import SequenceModel
    from anyformer.tasks.encoding import Encoding

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Task(ABC):
    """Data with a metric, three splits that share nothing, and predictors to be beaten.

    A subclass sets the attributes below and implements ``size`` and ``_take``; where samples are of several kinds or
    depend on each other, also ``_strata`` and ``_clusters``. Everything is a function of the seed and the options:
    batch ``step`` is the same in every process and in any order.
    """

    name: str
    title: str
    """What is asked, in one sentence."""
    objective: Objective
    vocab_size: int | None = None
    num_features: int | None = None
    stream: StreamFacts | None = None
    """Exactly one of ``vocab_size``, ``num_features`` and ``stream`` is set: inputs are tokens, numbers or fields."""
    window: SeriesWindow | None = None
    """Of inputs that are windows of series: their columns, and which are asked."""
    source: InputFacts | None = None
    """Facts about the sequences that the inputs continue; None if there are none."""
    metric: Metric
    train_length: int
    source_length: int = 0
    """Elements of the longest source at the trained length."""
    lengths: tuple[int, ...] = ()
    """Lengths other than ``train_length`` that evaluation accepts."""
    seed: int = 0
    tokenizer: TextTokenizer | None = None
    """The user's tokenizer, which is saved with models."""
    digest: str = ""
    """A hash of all samples, for data whose files name others, by which a resumed comparison knows that it changed."""
    candidates: tuple[str, ...] = ("transformer", "mamba depth=2", "retnet", "delta_net")
    """Models that are compared by default with this kind of data."""
    why: str = (
        "attention looks back at all; the others keep a memory of fixed size, by selection, decay or deltas"
    )
    """The reason for these candidates, in one sentence."""
    side: tuple[str, ...] = ()
    """Names of the side inputs that batches have."""
    direction: Literal["forward", "both"] = "forward"
    """Where a spec does not say whether it is causal: ``"both"``, it is not, see :mod:`anyformer.models.both_ways`."""
    of_elements: bool = False
    """True if targets are of elements, which batches name (``Batch.elements``), and not of whole samples."""
    batch_size: int | None = None
    """Samples in every training step, whatever is asked for, where there are no more."""
    beside: tuple[Metric, ...] = ()
    """Metrics besides the one that ranks, measured of trained models on :attr:`beside_items` test samples."""
    beside_items: int = 0
    target_channels: tuple[int, ...] = ()
    """Channels of the inputs ``(B, T, F)`` with the past of what is forecast, in the order of the targets."""
    other_channels: tuple[int, ...] = ()
    """Channels with what else is known of the past, where something is forecast."""
    endless: bool = False
    """True if the train split is generated without end."""
    sees_whole: bool = False
    """True if the output of a token may depend on later tokens: it is a label, not the next token."""

    @abstractmethod
    def size(self, split: Split, length: int | None = None) -> int:
        """Return the number of samples in the split; of an endless train split, the number that represent it."""

    @abstractmethod
    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        """Return the samples with these indices, each in ``range(size(split, length))``."""

    @abstractmethod
    def references(self) -> list[Reference]:
        """Return the predictors on this task's leaderboard, not yet fitted."""

    def train_batch(self, step: int, batch_size: int) -> Batch:
        """Return the batch of training step ``step``: every epoch is a new shuffle of the train split."""
        return self._trained_on("train", step, batch_size)

    def batch_of_all(self, step: int, batch_size: int) -> Batch:
        """Return the batch of step ``step`` of a training on all splits, as of a model that is about to be used.

        Each batch is of one split, which is drawn by the amounts of data in them. What was fitted on the train split,
        such as means and categories, stays.
        """
        ends = np.cumsum([self._amount(split) for split in SPLITS])
        drawn = np.random.default_rng([self.seed, 67, step]).integers(ends[-1])
        split = SPLITS[int(np.searchsorted(ends, drawn, side="right"))]
        return (
            self.train_batch(step, batch_size)
            if split == "train"
            else self._trained_on(split, step, batch_size)
        )

    def _amount(self, split: Split) -> int:
        """Return the amount of data in a split, beside that of the others; by default its number of samples."""
        return self.size(split)

    def _trained_on(self, split: Split, step: int, batch_size: int) -> Batch:
        """Return the batch of step ``step`` of a training on a split, whose targets have the form of training."""
        return self._take(split, self._shuffled(step, batch_size, self.size(split)), self.train_length)

    def _shuffled(self, step: int, batch_size: int, size: int) -> np.ndarray:
        """Return the indices of a step's samples out of ``size``, in a new order every epoch."""
        numbers = np.arange(step * batch_size, (step + 1) * batch_size)
        epochs, places = numbers // size, numbers % size
        index = np.empty_like(numbers)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            index[here] = self._order(int(epoch), size)[places[here]]
        return index

    def subset(self, split: Split, count: int | None = None, *, length: int | None = None) -> np.ndarray:
        """Return the indices of ``count`` samples that represent a split, ascending; all if there are no more.

        They are the same at every call, spread evenly over the split and stratified by class or series; a smaller
        subset is part of a larger one. Scores on it estimate those on the whole, whatever the order of the data.
        """
        check_split(split)
        length = self.check_length(length)
        size = self.size(split, length)
        if count is None:
            return np.arange(size)
        check_integer("count", count, low=1)
        return np.arange(size) if count >= size else np.sort(self._subset_order(split, length)[:count])

    def clusters(self, split: Split, *, length: int | None = None) -> np.ndarray:
        """Return the cluster of each sample of a split, ``(size,)``: samples of one cluster are not independent."""
        check_split(split)
        key = (split, self.check_length(length))
        held: dict[tuple[Split, int], np.ndarray] = self.__dict__.setdefault("_held_clusters", {})
        if key not in held:
            held[key] = self._clusters(*key)
        return held[key]

    def _strata(self, split: Split, length: int) -> np.ndarray | None:
        """Return the stratum of each sample of a split, ``(size,)``: its class or series; None if there is only one."""
        return None

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """See :meth:`clusters`; by default each sample is its own cluster."""
        return np.arange(self.size(split, length))

    def eval_batches(
        self, split: Split, batch_size: int, *, length: int | None = None, index: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yield the samples with these indices, by default the whole split, in order; the last batch may be shorter."""
        length = self.check_length(length)
        check_split(split)
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        if index is None:
            index = np.arange(self.size(split, length))
        for start in range(0, len(index), batch_size):
            yield self._take(split, index[start : start + batch_size], length)

    def sample(self, split: Split, limit: int) -> Batch:
        """Return at most ``limit`` samples that represent a split, in one batch."""
        return self._take(split, self.subset(split, limit), self.train_length)

    def train_sample(self, limit: int) -> Batch:
        """Return at most ``limit`` samples that represent the train split."""
        return self.sample("train", limit)

    def long_samples(self, splits: Sequence[Split], limit: int) -> Batch:
        """Return samples of splits with at most ``limit`` elements, of each split its share, with a class at each.

        Where samples are windows of a text, these are longer ones, so that what stands before an element is there.
        """
        found = [
            self.sample(split, max(1, count // self.train_length))
            for split, count in self._shares(splits, limit)
        ]
        masks = [torch.ones_like(one.x, dtype=torch.bool) if one.mask is None else one.mask for one in found]
        x, targets = (torch.cat(parts) for parts in zip(*((one.x, one.targets) for one in found)))
        return Batch(x, targets, torch.cat(masks))

    def _shares(self, splits: Sequence[Split], limit: int) -> list[tuple[Split, int]]:
        """Return how many of ``limit`` elements each split has, by the amounts of data in them."""
        amounts = [self._amount(split) for split in splits]
        return [(split, limit * amount // max(1, sum(amounts))) for split, amount in zip(splits, amounts)]

    @property
    def question(self) -> Question:
        """The question asked of a model, for metrics."""
        return self.objective.question

    def rank_by(self, name: str, *others: str) -> None:
        """Rank by another metric, one of :func:`anyformer.metrics.list_metrics`, and measure others besides it.

        Raises:
            ValueError: there is none of that name, or it does not measure answers to this question, or ranks none, or
                one is named twice.
            DataError: it has no value on a split.
        """
        metrics = [create_metric(one, self.question) for one in (name, *others)]
        ids = [metric.id for metric in metrics]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"{option('metric')} names {', '.join(twice)} twice")
        metric = metrics[0]
        if metric.decodes:
            raise ValueError(
                f"{option('metric')}: nothing is ranked by {name!r}, which is measured of texts that models write once "
                "they are trained"
            )
        if not metric.ranks:
            raise ValueError(
                f"{option('metric')}: nothing is ranked by {name!r}, which does not say what is better"
            )
        own = {one.id: one for one in self.beside}
        for one in metrics:
            if not one.decodes and one.id not in own:
                self._check_has_a_value(one)
            elif one.decodes and one.id not in own:
                raise ValueError(
                    f"{option('metric')}: {one.id!r} is of texts that models write, and they write none"
                )
        self.metric = metric
        beside = [own.get(one.id, one) for one in metrics[1:]]
        self.beside = (*beside, *(one for id, one in own.items() if id not in ids))
        if others and not any(one.decodes for one in self.beside):
            self.beside_items = self.size("test")

    def _check_has_a_value(self, metric: Metric) -> None:
        """Raise ``DataError`` if the metric has no value on a split, as where a class is lacking."""
        for split in SPLITS[1:]:
            items = []
            for batch in self.eval_batches(split, 256):
                places = batch.targets.shape[: 2 if self.objective.pool is None else 1]
                items.append(metric.measure(torch.zeros(*places, self.objective.num_outputs), batch.target))
            if not np.isfinite(metric.value(np.concatenate(items))):
                raise DataError(
                    f"{self.name}: {metric.info.name} has no value on the {self.size(split)} samples of the {split} "
                    f"split, as one of the classes is not among them; choose another {option('metric')}"
                )

    def decode(self, model: SequenceModel, batch: Batch) -> Tensor:
        """Return what a model writes for a batch, for metrics that decode.

        Returns:
            Tokens ``(B, N)`` int64, ``IGNORED`` behind the end.
        """
        raise NotImplementedError

    @property
    def train_elements(self) -> int:
        """Elements of the train split, each counted once; of an endless one, those of the samples that represent it."""
        return self.size("train") * self.sample_length

    @property
    def sample_length(self) -> int:
        """Elements that a model reads of a sample at the trained length, those of the source included."""
        return self.source_length + self.train_length

    def describe(self) -> dict[str, Any]:
        """Return facts for the report, ready for JSON."""
        return {
            "seed": self.seed,
            "train_length": self.train_length,
            "lengths": list(self.lengths),
            "samples": {split: self.size(split) for split in SPLITS},
        }

    def notes(self) -> list[str]:
        """Return remarks on the data for the user: choices made for them, gaps, missing values."""
        return []

    @property
    def encoding(self) -> Encoding | None:
        """The encoding of new data for predictions; None if the task was not made from a file."""
        return None

    def check_length(self, length: int | None) -> int:
        """Return ``length``, or ``train_length`` for None; ``ValueError`` if the task has no samples of that length."""
        if length is None or length == self.train_length:
            return self.train_length
        if length not in self.lengths:
            known = ", ".join(str(n) for n in (self.train_length, *self.lengths))
            raise ValueError(f"length must be one of {known} for task {self.name!r}, got {length}")
        return length

    def _subset_order(self, split: Split, length: int) -> np.ndarray:
        held: dict[tuple[Split, int], np.ndarray] = self.__dict__.setdefault("_held_subsets", {})
        if (split, length) not in held:
            rng = np.random.default_rng([self.seed, 41, SPLITS.index(split)])
            strata = self._strata(split, length)
            size = self.size(split, length)
            held[split, length] = spread_order(size, rng) if strata is None else stratified_order(strata, rng)
        return held[split, length]

    def _order(self, epoch: int, size: int) -> np.ndarray:
        held: dict[int, tuple[int, np.ndarray]] = self.__dict__.setdefault("_held_order", {})
        if size not in held or held[size][0] != epoch:
            held[size] = epoch, np.random.default_rng([self.seed, 17, epoch]).permutation(size)
        return held[size][1]


class Reference(ABC):
    """A predictor to be beaten."""

    parameters: int | None = None
    """Numbers that it keeps of the training data once it is fitted: weights, counts or samples; None if not counted."""
    exceptions: ClassVar[Mapping[str, str]] = {}
    """Laws that it is excused from, with the reason."""

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description

    def fit(self, task: Task) -> Reference:
        """Fit on the train split and return self."""
        return self

    @abstractmethod
    def predict(self, batch: Batch) -> Tensor:
        """Return predictions for the batch, in the form of a model's outputs."""

    def decode(self, batch: Batch) -> Tensor | None:
        """Return what it writes for the batch, see :meth:`Task.decode`; None if it writes nothing."""
        return None


TaskMaker = Callable[..., Task]


def call_with_options(what: str, make: TaskMaker, options: dict[str, Any]) -> Task:
    """Return ``make(**options)``; ``ValueError`` names options that it does not take."""
    for name in options:
        check_known(what, name, [one for one in inspect.signature(make).parameters if one != "seed"])
    return make(**options)


def check_known(what: str, name: str, taken: Sequence[str]) -> None:
    """Raise ``ValueError`` if a user's option is none of those ``taken``, with the nearest of them, or all."""
    if name in (*taken, "seed"):
        return
    close = get_close_matches(name.casefold(), taken, n=2, cutoff=0.5)
    if close:
        raise ValueError(f"{what} has no option {name!r}; did you mean {' or '.join(map(option, close))}?")
    listed = f"; it takes {', '.join(map(option, taken))}" if taken else " besides the seed"
    raise ValueError(f"{what} has no option {name!r}{listed}")


def check_split(split: str) -> None:
    """Raise ``ValueError`` unless ``split`` is the name of one."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")


def check_integer(name: str, value: int, *, low: int, high: int | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer in ``[low, high]``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low or (high and value > high):
        limits = f"at least {low}" if high is None else f"in {low}..{high}"
        raise ValueError(f"{option(name)} must be an integer {limits}, got {value!r}")
