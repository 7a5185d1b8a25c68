"""Recomputed activations: the same training in less memory."""

from __future__ import annotations

import pytest
import torch

from anyformer.compare.run.costs import PeakMemory
from anyformer.tasks import create_task
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.recompute import recomputed

TASK = create_task("recall", length=32, num_pairs=4, vocab_size=16)


def trainer(spec: str, **config: object) -> Trainer:
    return Trainer(model_for(TASK, spec), TASK, TrainConfig(steps=4, batch_size=8, **config))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec",
    [
        "transformer dim=32 depth=2 dropout=0.2",
        "mamba dim=16 depth=2",
        "[attention, moe(num_experts=2, top_k=1)]*2 dim=16",
        "[mixture_of_depths(attention)]*2 dim=16",
    ],
)
def test_the_training_is_the_same(spec: str) -> None:
    plain, small = (trainer(spec, checkpoint_activations=on) for on in (False, True))
    for run in (plain, small):
        run.run()
    assert small.losses == pytest.approx(plain.losses, abs=1e-6)
    for ours, theirs in zip(small.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_memory_falls() -> None:
    peaks = []
    for on in (False, True):
        run = trainer("transformer dim=64 depth=6", checkpoint_activations=on)
        run.run(until=1)
        with PeakMemory() as memory:
            run.run(until=2)
        peaks.append(memory.peak)
    assert peaks[1] < 0.6 * peaks[0]


def test_the_model_is_left_as_it_was() -> None:
    model = model_for(TASK, "transformer dim=16 depth=1")
    with pytest.raises(KeyError), recomputed(model):
        raise KeyError
    assert not any("forward" in vars(module) for module in model.modules())
