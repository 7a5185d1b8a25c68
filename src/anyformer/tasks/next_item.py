"""Logs of events, such as ratings or clicks, in which the item of a user's next event is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from anyformer.errors import DataError
from anyformer.heads.neighbours import MOST_ITEMS as MOST_COUNTED
from anyformer.metrics import create_metric, list_metrics
from anyformer.objectives import NextItem
from anyformer.questions import IGNORED, UNKNOWN
from anyformer.spelling import option
from anyformer.tasks.base import SPLITS, Reference, Split, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import FIRST, Category, Texts, describe_categories, factorized
from anyformer.tasks.encoding import DataLayout, Standard, as_tensors
from anyformer.tasks.event_encoding import EventEncoding, excluded_before, sequences
from anyformer.tasks.eventlog import ASKED, EventLog, Samples
from anyformer.tasks.item_references import item_references, too_many

MOST_ITEMS = 100_000
"""The most items that can be told; the rarest beyond them are as unknown as new ones."""
FEWEST = 10
"""The fewest events that are asked in a split."""
MOST_SCORES = 300_000_000
"""The most scores of items in an evaluation of a whole split, which takes some seconds."""
LONGEST = 64
"""The most events of a sample, unless the user says otherwise."""


class NextItemTask(Task):
    """The item of each user's next event, out of all items.

    A training sample has at most ``length`` events of a user, each of which asks for the next. Samples of the other
    splits ask for the events of their part, from all events before; those of one user are one cluster. Items that the
    training part has at most once have no code: they cannot be told, and count as wrong.

    Args:
        log: the events.
        items: ``(N,)`` texts.
        x: numbers ``(N, F)``, NaN where one is missing; the last is the gap, if there are dates.
        texts: categories ``(N,)`` by name, None where one is missing.
        item, user: names of the columns.
        layout: how the data was read; its ``length`` is None for one that fits the users.
        marks: mark missing numbers by further channels.
        only_new: ask for events alone whose item their user has not had before, and rank these items alone.
        name, seed, facts, remarks: see :class:`anyformer.tasks.labelled.LabelledTask`.
    """

    candidates = ("neighbour_rnn", "sasrec", "hstu", "hgrn2")
    why = (
        "neighbour_rnn adds to what goes with the items before by counts; sasrec and hstu are made for items that "
        "follow each other, with dropout as few events tell of each item; hgrn2 keeps a memory of fixed size"
    )

    def __init__(
        self,
        log: EventLog,
        items: Texts,
        x: np.ndarray,
        texts: Mapping[str, Texts],
        *,
        item: str,
        user: str,
        layout: DataLayout,
        marks: bool = False,
        only_new: bool = False,
        name: str,
        seed: int = 0,
        facts: dict[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.name, self.seed, self.log = name, seed, log
        self._facts, self._remarks = dict(facts or {}), list(remarks)
        codes, different = factorized(items)
        self._only_new = only_new
        self._again = pd.Series(log.users * np.int64(len(different)) + codes).duplicated().to_numpy()
        self._check_enough()
        trained = log.trained
        self.item = Category.fit(item, items[trained], most=MOST_ITEMS)
        if len(self.item.values) < 2:
            raise DataError(
                f"{name}: {len(self.item.values)} values of {item!r} occur twice in the {len(trained)} training "
                "events; at least two items must repeat"
            )
        categories = [Category.fit(one, values[trained]) for one, values in texts.items()]
        for category in categories:
            if not category.values:
                raise DataError(
                    f"{name}: no value of {category.name!r} is there twice in the training events; "
                    f"{option('drop', category.name)} leaves it out"
                )
        describe_categories(categories, texts, self._remarks)
        standard = Standard.fit(x[trained][None], None, by_place=False, marks=marks) if x.shape[1] else None
        self.train_length = self._length(layout.length)
        self._encoding = EventEncoding(
            layout=layout.model_copy(update={"length": self.train_length}),
            item=self.item,
            standard=standard,
            categories=categories,
            only_new=only_new,
        )
        self.stream = self._encoding.stream()
        self._fields = self._encoding.inputs(items, x, texts)
        self._samples = {split: log.samples(split, self.train_length) for split in SPLITS}
        for split in SPLITS[1:]:
            self._samples[split] = self._drawn(split, MOST_SCORES // len(self.item.values))
        self.objective = NextItem(len(self.item.values))
        fitting = list_metrics(self.question)
        self.metric = create_metric("ndcg_at_10" if "ndcg_at_10" in fitting else "accuracy", self.question)
        self.title = (
            f"Tell the {item} of each {user}'s next event." if user else f"Tell the {item} of the next event."
        )
        self._describe_items(items)
        self._remarks.extend(too_many(self.item))
        if len(self.item.values) > MOST_COUNTED:
            self.candidates = ("sasrec", "hstu", "hgrn2", "transformer")
            self.why = self.why.partition("; ")[2] + ", and the transformer is the plain one"

    def _classes(self, rows: np.ndarray) -> np.ndarray:
        """Return the class of the item of these events, int64 of their shape, below 0 for one without a code."""
        codes: np.ndarray = self._fields[self.item.name][rows].astype(np.int64)
        return codes - FIRST

    @property
    def _counts(self) -> np.ndarray:
        """True at the events that are asked if they are no user's first, ``(N,)``."""
        return ~self._again if self._only_new else np.ones(len(self._again), bool)

    def _check_enough(self) -> None:
        for split in SPLITS:
            asked = int(self._counts[self.log.asked(split)].sum())
            if asked < FEWEST:
                raise DataError(
                    f"{self.name}: the {split} split asks for {asked} events, each with an event of the same user "
                    f"before; at least {FEWEST} are needed"
                )

    def _length(self, given: int | None) -> int:
        """Return the number of events in a sample: the user's, or one that 95 % of the users' training events fit."""
        asked = self.log.asked("train")
        longest = np.unique(self.log.users[asked], return_counts=True)[1]
        fitting = int(np.ceil(np.quantile(longest, 0.95)))
        length = given or min(LONGEST, max(fitting, 2))
        cut = int((longest > length).sum())
        if cut:
            self._remarks.append(
                f"{cut} of {len(longest)} users have more than {length} events in training, and are cut into samples "
                f"of at most so many; a model sees the last {length}: {option('length')} changes that"
            )
        return length

    def _drawn(self, split: Split, most: int) -> Samples:
        """Return the samples of a split; if they ask for more events than ``most``, some of them, drawn at random."""
        asked = self._asked(split)
        some = np.flatnonzero(asked)
        every, asked = Samples(*(one[some] for one in self._samples[split])), asked[some]
        if asked.sum() <= most:
            return every
        order = np.random.default_rng([self.seed, 43, SPLITS.index(split)]).permutation(len(asked))
        kept = np.sort(order[: max(1, int((np.cumsum(asked[order]) <= most).sum()))])
        self._remarks.append(
            f"the {split} split asks for {asked[kept].sum():,} of its {asked.sum():,} events, drawn at random, as each "
            f"is ranked among {len(self.item.values):,} items"
        )
        return Samples(*(one[kept] for one in every))

    def _asked(self, split: Split) -> np.ndarray:
        """Return the number of events that each sample of a split asks for."""
        until = np.append(0, np.cumsum(self._counts))
        _, first, end, _ = self._samples[split]
        found: np.ndarray = until[end + 1] - until[first + 1]
        return found

    def _describe_items(self, items: Texts) -> None:
        item = self.item
        rest = len(item.unknown(items))
        told = f"{item.name!r} has {len(item.values):,} items that can be told"
        if rest:
            asked = {
                split: rows[self._counts[rows]] for split in SPLITS[1:] for rows in [self.log.asked(split)]
            }
            shares = {split: 100 * float((self._classes(rows) < 0).mean()) for split, rows in asked.items()}
            beyond = (
                f" or that are beyond the {MOST_ITEMS:,} most frequent"
                if len(item.values) == MOST_ITEMS
                else ""
            )
            told += (
                f"; {rest:,} more that training shows at most once{beyond} are read as one, and no answer is right "
                f"where they are asked ({shares['valid']:.1f} % of those in validation, {shares['test']:.1f} % in test)"
            )
        self._remarks.append(told)
        again = 100 * float(self._again[self.log.asked("test")].mean())
        if not self._only_new:
            self._remarks.append(
                f"{again:.1f} % of the events in test repeat an item that their user had before; such items stay in "
                f"the ranking, {option('only_new', True)} leaves them out"
            )

    def size(self, split: Split, length: int | None = None) -> int:
        """Return the number of samples in the split."""
        return len(self._samples[split].users)

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        begin, first, end, _ = (one[index] for one in self._samples[split])
        fields, mask = sequences(self._fields, begin, end, length)
        if split == "train":
            places, asked = begin[:, None] + np.arange(length), mask
        else:
            places = first[:, None] + np.arange(min(ASKED, max(1, length // 2)))
            asked = places < end[:, None]
        after = np.where(asked, places + 1, 0)
        classes, asked = self._classes(after), asked & self._counts[after]
        unknown = IGNORED if split == "train" else UNKNOWN
        targets = np.where(asked, np.where(classes < 0, unknown, classes), IGNORED)
        tensors = as_tensors(fields), torch.from_numpy(targets), torch.from_numpy(mask)
        if split == "train":
            return Batch(*tensors)
        at = torch.from_numpy(np.where(asked, places - begin[:, None], 0))
        return Batch(*tensors, at=at, excluded=self._excluded(after) if self._only_new else None)

    def long_samples(self, splits: Sequence[Split], limit: int) -> Batch:
        """Return samples of training alone: those of the other splits begin with events that these have too."""
        return self.train_sample(max(1, limit // self.train_length))

    def _trained_on(self, split: Split, step: int, batch_size: int) -> Batch:
        """Return the batch of a training step; what other splits ask is asked at the same elements as in training."""
        batch = super()._trained_on(split, step, batch_size)
        if batch.at is None:
            return batch
        asked = torch.where(batch.targets < 0, IGNORED, batch.targets)
        whole = torch.full((len(batch), self.train_length), IGNORED).scatter_reduce(
            1, batch.at, asked, "amax"
        )
        return replace(batch, targets=whole, at=None, excluded=None)

    def _excluded(self, after: np.ndarray) -> torch.Tensor:
        """Return the items that the user had before each of the events ``(B, N)``: ``(B, N, L)``, -1 for none."""
        return excluded_before(self._fields[self.item.name], self.log.starts[self.log.users[after]], after)

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """Return the user of each sample; if there is only one user, each sample by itself."""
        users: np.ndarray = self._samples[split].users
        return users if self.log.users[-1] else super()._clusters(split, length)

    @property
    def encoding(self) -> EventEncoding:
        """The encoding of new events."""
        return self._encoding

    def references(self) -> list[Reference]:
        """Popularity, the last item, what followed it, what goes with it, and a linear model of all before."""
        return item_references(self.log, self._fields[self.item.name], self.item, self.train_length)

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        asked = {split: int(self._asked(split).sum()) for split in SPLITS}
        items = {"items": len(self.item.values), "events asked": asked}
        return {**super().describe(), **self._facts, **items}

    def notes(self) -> list[str]:
        """Return remarks on decisions about the data."""
        return list(self._remarks)
