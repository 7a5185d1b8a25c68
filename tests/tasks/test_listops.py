"""ListOps, against a parser with a stack."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import torch
from test_generated import all_of

from anyformer.tasks import create_task
from anyformer.tasks.generated.listops import TOKENS, evaluate


def value(tokens: list[str]) -> int:
    """The value of an expression, by a stack."""
    stack: list[list[Any]] = [[]]
    for token in tokens:
        if token.startswith("["):
            stack.append([token])
        elif token == "]":
            op, *items = stack.pop()
            result = {
                "[MAX": max,
                "[MIN": min,
                "[MED": lambda n: int(statistics.median(n)),
                "[SM": lambda n: sum(n) % 10,
            }[op](items)
            assert len(items) >= 2
            stack[-1].append(result)
        else:
            stack[-1].append(int(token))
    [[result]] = stack
    assert isinstance(result, int)
    return result


class TestListOps:
    def test_the_worked_example(self) -> None:
        x = np.array([[10, 2, 13, 8, 7, 14, 12, 1, 4, 9, 14, 0, 14]])
        text = ["[MAX", "2", "[SM", "8", "7", "]", "[MED", "1", "4", "9", "]", "0", "]"]
        assert [TOKENS[token] for token in x[0]] == text
        assert evaluate(x, np.array([13])).tolist() == [5] == [value(text)]

    def test_values_agree_with_a_stack(self) -> None:
        task = create_task("listops", length=40)
        depths = set()
        for length in (40, 160):
            for batch in task.eval_batches("valid", 64, length=length):
                sizes = [length] * 64 if batch.mask is None else batch.mask.sum(1).tolist()
                for row, size, target in zip(batch.x.tolist(), sizes, batch.targets.tolist()):
                    text = [TOKENS[token] for token in row[:size]]
                    assert value(text) == target
                    depths.add(max(np.cumsum([t.startswith("[") - int(t == "]") for t in text])))
        assert max(depths) >= 5

    def test_no_answer_rules(self) -> None:
        _, targets = all_of(create_task("listops"), "train")
        shares = torch.bincount(targets, minlength=10) / len(targets)
        assert shares.min() > 0.04 and shares.max() < 0.25
