"""Predictors of tags without a sequence model."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from tests.tasks.tagging import sentences

from anyformer.questions import IGNORED
from anyformer.tasks import score_reference
from anyformer.tasks.tags.references import FrequentTag, LinearTagger, TagOfWord, features, shape
from anyformer.tasks.tags.task import TaggedTask


def test_each_on_tags_that_neighbours_tell() -> None:
    """The word "bank" is N behind "the" and V behind "to"."""
    draw = random.Random(0)
    words, tags = [], []
    for number in range(120):
        pairs = [draw.choice([("the", "D", "N"), ("to", "P", "V")]) for _ in range(draw.randint(1, 4))]
        words.append([f"s{number}", *(word for before, *_ in pairs for word in (before, "bank"))])
        tags.append(["S", *(tag for _, first, second in pairs for tag in (first, second))])
    task = TaggedTask(words, tags, name="banks")
    frequent, own, linear = (score_reference(r.fit(task), task) for r in task.references())
    assert frequent < 0.4 < own < 0.85 and linear == 1.0


def test_the_tag_of_a_word_is_counted_in_training_only() -> None:
    task = TaggedTask(*sentences(80), name="letters")
    found = TagOfWord().fit(task)
    batch = task.train_sample(1000)
    told = found.predict(batch).argmax(-1)
    asked = batch.targets != IGNORED
    assert (told[asked] == batch.targets[asked]).all()  # the first letter tells: a word has one tag
    counts = Counter(batch.targets[asked].tolist())
    constant = FrequentTag().fit(task)
    logits = constant.predict(task.sample("test", 10))
    assert logits.argmax(-1)[task.sample("test", 10).targets != IGNORED].unique().tolist() == [
        counts.most_common(1)[0][0]
    ]
    unknown = found.scores([[b"never seen"]])
    assert unknown.argmax() == constant.scores([[b"x"]]).argmax()


def test_linear_knows_one_tag_alone() -> None:
    words, tags = sentences(60)
    task = TaggedTask(words, [["A"] * len(one) for one in words[:-1]] + [["B"] * len(words[-1])], name="one")
    logits = LinearTagger().fit(task).predict(task.sample("test", 5))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("word, told", [("McDonald", "XxXx"), ("3.14", "d.d"), ("EU", "X"), ("né!", "x!")])
def test_shapes(word: str, told: str) -> None:
    assert shape(word) == told


def test_features_are_of_the_word_and_its_neighbours() -> None:
    first, second = features([b"Ada", b"ran"])
    assert {"w=ada", "W=Ada", "shape=Xx", "p1=a", "s2=da", "+1=ran", "-1=<s>", "+1shape=x"} <= set(first)
    assert {"-1=ada", "+1=</s>", "-2=<s>"} <= set(second) and "+1shape=" not in " ".join(second)
