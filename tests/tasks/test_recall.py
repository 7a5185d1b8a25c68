"""Associative recall: keys are asked for their values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_generated import all_of

from anyformer.objectives import IGNORED
from anyformer.tasks import create_task
from anyformer.tasks.generated.recall import Recall


class TestRecall:
    def test_the_docstring_shows_a_sample(self) -> None:
        """The pairs of the docstring, asked in its order, are answered as it says."""
        assert Recall.__doc__ is not None
        lines = [line.split() for line in Recall.__doc__.splitlines()]
        x, target = (next(line[1:] for line in lines if line[:1] == [name]) for name in ("x", "target"))
        x, target = [t for t in x if t != "|"], [t for t in target if t != "|"]
        binding = dict(zip(x[0:6:2], x[1:6:2]))
        assert target == ["."] * 6 + [binding[key] for key in x[6:]]

    def test_every_question_has_the_value_that_came_with_its_key(self) -> None:
        task = create_task("recall", vocab_size=20, num_pairs=4, length=14)
        for length in (14, *task.lengths):
            x, targets = all_of(task, "test", length)
            pairs = Recall.pairs_at(task, length)  # type: ignore[arg-type]
            for row, answer in zip(x[:50].tolist(), targets[:50].tolist()):
                binding = dict(zip(row[0 : 2 * pairs : 2], row[1 : 2 * pairs : 2]))
                assert len(binding) == pairs and max(binding) < 10 <= min(binding.values())
                assert answer == [IGNORED] * 2 * pairs + [binding[key] for key in row[2 * pairs :]]

    def test_pairs_grow_with_the_length_up_to_the_keys(self) -> None:
        task = create_task("recall", vocab_size=16, num_pairs=6, length=30)
        assert task.describe()["pairs_at_length"] == {30: 6, 60: 8, 120: 8}

    def test_any_key_can_stand_anywhere(self) -> None:
        x, _ = all_of(create_task("recall"), "train")
        counts = torch.stack([torch.bincount(x[:, place], minlength=16)[:16] for place in range(0, 12, 2)])
        assert counts.min() > 0.7 * counts.float().mean()

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"vocab_size": 7}, "vocab_size must be even"),
            ({"num_pairs": 17}, r"num_pairs must be an integer in 1\.\.16, got 17"),
            ({"length": 10}, "length must be an integer at least 18, got 10"),
            (
                {"pairs": 3},
                "task 'recall' has no option 'pairs'; did you mean num_pairs",
            ),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            create_task("recall", **options)
