from __future__ import annotations

import pytest
import torch

from anyformer.tasks import create_task, score_reference
from anyformer.train.models import model_for


def test_labels() -> None:
    task = create_task("ends", length=10)
    batch = task.train_batch(0, 200)
    assert batch.mask is not None
    for x, target, mask in zip(batch.x.tolist(), batch.targets.tolist(), batch.mask):
        size = int(mask.sum())
        assert 5 <= size <= 10 and mask[:size].all()
        assert target[:size] == [(s == x[0]) + 2 * (s == x[size - 1]) for s in x[:size]]
        assert set(target[size:]) <= {-100}
    (neither,) = task.references()
    assert 0.35 < score_reference(neither.fit(task), task) < 0.5


def test_models_may_see_the_whole_sentence_here_and_not_where_the_next_token_is_asked() -> None:
    spec = "[lstm]*1 dim=8 causal=false"
    assert not model_for(create_task("ends"), spec).body.info.causal
    with pytest.raises(ValueError, match="must not depend on later tokens"):
        model_for(create_task("recall"), spec)


def test_reproducible() -> None:
    one, other = create_task("ends", seed=3), create_task("ends", seed=3)
    assert torch.equal(one.train_batch(5, 8).x, other.train_batch(5, 8).x)
    with pytest.raises(ValueError, match="num_symbols must be an integer at least 4, got 3"):
        create_task("ends", num_symbols=3)
