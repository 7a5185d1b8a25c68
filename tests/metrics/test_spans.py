"""Spans of tags, and their F1, by the rules of conlleval."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.metrics import create_metric
from anyformer.metrics._spans import Span, SpanTags, are_spans, read_tag, spans_of
from anyformer.questions import IGNORED, Question, Target

NAMES = ("B-X", "B-Y", "E-X", "E-Y", "I-X", "I-Y", "O", "S-X", "S-Y")
QUESTION = Question(kind="class", place="each", num_classes=len(NAMES), names=NAMES)


@pytest.mark.parametrize(
    "tags, spans",
    [
        ("B-X I-X O B-X", [(0, 1, "X"), (3, 3, "X")]),
        ("I-X I-X B-X O I-Y", [(0, 1, "X"), (2, 2, "X"), (4, 4, "Y")]),  # IOB1
        ("B-X I-Y I-Y", [(0, 0, "X"), (1, 2, "Y")]),
        ("B-X I-X E-X S-Y S-Y B-Y E-Y", [(0, 2, "X"), (3, 3, "Y"), (4, 4, "Y"), (5, 6, "Y")]),
        ("B-X L-X U-Y O", [(0, 1, "X"), (2, 2, "Y")]),
        ("E-X E-X", [(0, 0, "X"), (1, 1, "X")]),
        ("O O", []),
        ("", []),
    ],
)
def test_spans_by_hand(tags: str, spans: list[tuple[int, int, str]]) -> None:
    assert spans_of(tags.split()) == [Span(*span) for span in spans]


def test_tags() -> None:
    assert read_tag("M-a-b") == ("I", "a-b") and read_tag("U-X") == ("S", "X") and read_tag("O") == ("O", "")
    assert read_tag("NN") is None and read_tag("B-") is None and read_tag("X-PER") is None
    assert are_spans(["B-X", "O"]) and are_spans(["B-X", "I-X"])
    assert not are_spans(["O"]) and not are_spans([]) and not are_spans(["B-X", "DET", "O"])


tags = st.lists(st.sampled_from(NAMES), max_size=9)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(tags, tags)
def test_edges_are_those_of_the_definition(one: list[str], other: list[str]) -> None:
    """Two sequences in one batch, with padding; ends and starts agree exactly where spans do."""
    size = max(len(one), len(other), 1)
    classes = torch.zeros(2, size, dtype=torch.int64)
    real = torch.zeros(2, size, dtype=torch.bool)
    for row, names in enumerate((one, other)):
        classes[row, : len(names)] = torch.tensor([NAMES.index(name) for name in names], dtype=torch.int64)
        real[row, : len(names)] = True
    ends, starts = SpanTags(NAMES).edges(classes, real)
    spans = [spans_of(one), spans_of(other)]
    for row in range(2):
        assert ends[row].nonzero()[:, 0].tolist() == [span.last for span in spans[row]]
    both = ends[0] & ends[1] & (starts[0] == starts[1])
    assert both.nonzero()[:, 0].tolist() == sorted(span.last for span in set(spans[0]) & set(spans[1]))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=8), min_size=1))
def test_f1_of_sets_of_spans(samples: list[list[tuple[str, str]]]) -> None:
    """Tags stand anywhere among elements that are not asked about."""
    draw = np.random.default_rng(0)
    targets, outputs = torch.full((len(samples), 17), IGNORED), torch.randn(len(samples), 17, len(NAMES))
    right = told = true = 0
    for row, pairs in enumerate(samples):
        places = np.sort(draw.choice(17, len(pairs), replace=False))
        for place, (name, answer) in zip(places, pairs):
            targets[row, place] = NAMES.index(name)
            outputs[row, place, NAMES.index(answer)] = 9.0
        one, other = (set(spans_of([pair[i] for pair in pairs])) for i in range(2))
        right, told, true = right + len(one & other), told + len(other), true + len(one)
    metric = create_metric("span_f1", QUESTION)
    items = metric.measure(outputs, Target(targets))
    assert items.sum(0).tolist() == [right, told, true]
    found = metric.value(items)
    assert math.isnan(found) if not told + true else found == pytest.approx(2 * right / (told + true))


def test_other_tags_are_refused() -> None:
    plain = Question(kind="class", place="each", num_classes=2, names=("DET", "NOUN"))
    with pytest.raises(ValueError, match="measures spans of tags such as B-PER, I-PER and O"):
        create_metric("span_f1", plain)
    create_metric("accuracy", plain)
