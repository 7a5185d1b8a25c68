"""Costs of models, measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anyformer.compare.run.costs import (
    KNOWN_BATCHES,
    PeakMemory,
    bare_trainer,
    lengths_for,
    measure,
    median_step_seconds,
)
from anyformer.models.size import flops_per_token
from anyformer.tasks import create_task
from anyformer.train import model_for


@pytest.fixture
def task():
    return create_task("recall", num_pairs=2, length=12, vocab_size=8)


@pytest.mark.parametrize("name", ["transformer", "retnet"])
def test_costs(task, name):
    trainer = bare_trainer(task, model_for(task, name, dim=16), 4)
    costs = measure(trainer, seconds=20.0)
    assert costs.notes == []
    assert costs.train_tokens_per_second > 0
    assert costs.token_latency_ms > 0
    assert costs.flops_per_token > trainer.model.num_parameters() / 2
    assert (
        sorted(costs.prefill_ms)
        == sorted(costs.state_bytes)
        == sorted(costs.memory_bytes)
        == [12, 24, 48, 96, 192]
    )
    assert costs.memory_bytes[192] > 4 * costs.memory_bytes[12]
    growth = costs.state_bytes[192] / costs.state_bytes[12]
    if name == "transformer":
        assert growth > 8, "keys and values are kept for every token"
    else:
        assert growth == 1, "the state has a fixed size"
    parameters = sum(p.numel() * 4 for p in trainer.model.parameters())
    assert costs.peak_memory_bytes > 3 * parameters


def test_lengths_stop_at_what_the_model_takes(task):
    model = model_for(task, "transformer", dim=16, positions="learned(max_length=30)")
    assert lengths_for(task, model) == [12, 24]


def test_memory_is_counted():
    layer = nn.Linear(100, 1000, bias=False)
    with PeakMemory() as memory:
        for _ in range(3):
            layer(torch.zeros(100, 100))
    assert 400_000 <= memory.peak <= 500_000, "freed memory is not counted again"


def test_flops_of_a_plain_model(task):
    model = model_for(task, "transformer", dim=16)
    x = task.train_batch(0, 1).x
    assert flops_per_token(model, x) > 2 * sum(p.numel() for p in model.parameters() if p.dim() == 2) * 0.5


@pytest.mark.parametrize(
    ("once", "budget", "again"), [(10.0, 3600.0, True), (10.0, 0.0, False), (None, 60.0, False)]
)
def test_steps_are_measured_on_batches_that_are_read_again(task, once, budget, again):
    """Where a run reads them again: some models remember what they found in a series."""
    trainer, read = bare_trainer(task, model_for(task, "transformer", dim=8), 4), []
    found = trainer._batches
    trainer._batches = lambda step, size: [read.append(step), found(step, size)][1]
    assert median_step_seconds(trainer, once, budget) > 0
    assert read[:KNOWN_BATCHES] == list(range(KNOWN_BATCHES)) and len(read) >= 2 * KNOWN_BATCHES
    assert (max(read) == KNOWN_BATCHES - 1) == again
