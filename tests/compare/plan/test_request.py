"""Arguments that do not depend on the task are checked."""

from __future__ import annotations

import pytest
import torch
from fakes import request


def test_workers_share_the_cores_and_take_no_more_threads_than_they_may(monkeypatch):
    monkeypatch.setattr("anyformer.compare.plan.request.available_cores", lambda: 16)
    for allowed, workers, threads in ((16, 3, 5), (16, 20, 1), (1, 3, 1), (4, 2, 4)):
        monkeypatch.setattr(torch, "get_num_threads", lambda allowed=allowed: allowed)
        assert request(workers=workers).threads == threads


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"budget": "-5s"}, "budget must be positive, got '-5s'"),
        ({"budget": "soon"}, "budget: expected a time"),
        ({"hold": "weights"}, "hold must be 'parameters' or 'flops', got 'weights'"),
        ({"equal": "time"}, "equal must be 'budget' or 'steps', got 'time'"),
        ({"seeds": 2}, "seeds must be at least 3"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"parameters": -1}, "parameters must be at least 1, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        request(**changes)


def test_cores_are_shared():
    found = request(workers=1)
    assert found.threads >= 1
    assert request(workers=10_000).threads == 1
    assert torch.get_num_threads() >= 1
