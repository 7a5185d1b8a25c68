"""Texts that are written: the distance by its definition, and both measures against the field's programs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.metrics import create_metric
from anyformer.metrics._texts import edits, texts_of
from anyformer.questions import IGNORED, Question, Target

STOP = 256
QUESTION = Question(kind="class", place="each", num_classes=257, field="byte", stop=STOP)
DATA = Path(__file__).parents[1] / "peers" / "data" / "texts.json"
CORPORA: list[dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))


def tokens(texts: list[str]) -> torch.Tensor:
    rows = [[*text.encode(), STOP] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [IGNORED] * (longest - len(row)) for row in rows])


@cache
def distance(a: str, b: str) -> int:
    """Edits by their definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.text("abß", max_size=6), st.lists(st.text("abß", max_size=6), max_size=4))
def test_edits_are_the_fewest(text: str, others: list[str]) -> None:
    assert edits(text, others).tolist() == [distance(text, other) for other in others]


@pytest.mark.parametrize("corpus", CORPORA)
def test_values_are_those_of_sacrebleu_and_jiwer(corpus: dict[str, Any]) -> None:
    given = tokens(corpus["written"]), Target(tokens(corpus["right"]))
    for name, expected in (("chrf", corpus["chrf"]), ("character_error_rate", corpus["cer"])):
        metric = create_metric(name, QUESTION)
        assert metric.value(metric.measure(*given)) == pytest.approx(expected, rel=1e-12)


def test_texts_end_at_the_first_stop_and_hold_bytes_only() -> None:
    rows = torch.tensor(
        [[97, STOP, 98, STOP], [0xC3, 0x9F, 257, 99], [0xC3, 97, IGNORED, IGNORED], [STOP, 1, 1, 1]]
    )
    assert texts_of(rows, STOP) == ["a", "ßc", "\ufffda", ""]


def test_exact_match_counts_whole_samples() -> None:
    target = tokens(["ab", "c", "de"])
    outputs = torch.nn.functional.one_hot(target.clamp(min=0), 257).float()
    outputs[1, 0] = 0.0  # the first token is then the likeliest
    target[2] = IGNORED
    metric = create_metric("exact_match", QUESTION)
    np.testing.assert_array_equal(metric.measure(outputs, Target(target)), [[1, 1], [0, 1], [0, 0]])


def test_only_answers_that_are_written_have_such_metrics() -> None:
    for name in ("chrf", "character_error_rate", "exact_match"):
        with pytest.raises(ValueError, match="written"):
            create_metric(name, Question(kind="class", place="each", num_classes=256, field="byte"))
