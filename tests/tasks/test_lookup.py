from __future__ import annotations

import numpy as np
import pytest

from anyformer.tasks import create_task


@pytest.mark.parametrize("length", [None, 40])
def test_one_fact_answers_the_question(length: int | None) -> None:
    task = create_task("lookup", num_keys=6, num_values=3, num_facts=5, length=20)
    batch = next(task.eval_batches("valid", 64, length=length)) if length else task.train_batch(0, 64)
    x, targets = batch.x.numpy(), batch.targets.numpy()
    assert x.shape == (64, length or 20) and task.vocab_size == 1 + 6 + 18
    for row, target in zip(x, targets):
        asked, facts = row[0] - 1, row[1:][row[1:] > 0] - 7
        assert 0 <= asked < 6 and len(facts) == 5
        keys, values = np.divmod(facts, 3)
        assert len(set(keys)) == 5 and values[keys == asked].tolist() == [target]


def test_facts_stand_anywhere() -> None:
    x = create_task("lookup", length=12).train_batch(0, 500).x
    assert np.all((x[:, 1:] > 0).float().mean(0).numpy() > 0.2)


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_keys must be"):
        create_task("lookup", num_keys=3, num_facts=4)
    with pytest.raises(ValueError, match="length must be"):
        create_task("lookup", length=4)
