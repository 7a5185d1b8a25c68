"""Tasks with a source: training, checks and fingerprints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.train.reversal import Reversal

from anyformer.compare.run.costs import bare_trainer, lengths_for, measure
from anyformer.schema import Stream
from anyformer.tasks import Batch
from anyformer.tasks.fingerprint import sample_of_task
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.bundle import load_bundle, save_bundle
from anyformer.train.trainer import cut


@pytest.mark.parametrize("spec", ["mamba dim=32 depth=1", "encoder_decoder dim=32 depth=1"])
def test_both_forms_learn_to_reverse(spec: str) -> None:
    task = Reversal(length=4, words=3)
    config = TrainConfig(steps=100, batch_size=32, learning_rate=1e-2)
    trainer = Trainer(model_for(task, spec), task, config, device="cpu")
    trainer.run()
    assert trainer.evaluate("test").value > 0.85


def test_a_batch_carries_its_source_along() -> None:
    batch = Reversal().sample("test", 8)
    assert batch.source is not None
    part = batch[2:4].to("meta").source
    assert part is not None and isinstance(part.inputs, torch.Tensor) and part.mask is not None
    assert part.inputs.shape == part.mask.shape == (2, 6) and part.mask.is_meta
    with pytest.raises(ValueError, match="short_length is for windows that continue no source"):
        cut(batch, 2)


def test_another_source_is_another_sample() -> None:
    class Changed(Reversal):
        def _take(self, *args):
            batch = super()._take(*args)
            source = Stream(batch.source.inputs.flip(1), batch.source.mask)
            return Batch(batch.inputs, batch.targets, batch.mask, source=source)

    assert sample_of_task(Reversal()) == sample_of_task(Reversal()) != sample_of_task(Changed())


@pytest.mark.parametrize("spec", ["retnet dim=16", "encoder_decoder dim=16 depth=1"])
def test_costs_count_the_source(spec: str) -> None:
    task = Reversal(length=8)
    assert task.sample_length == 16
    costs = measure(bare_trainer(task, model_for(task, spec), 4), seconds=20.0)
    assert costs.notes == [] and sorted(costs.prefill_ms) == [8, 16, 32, 64, 128]
    growth = costs.state_bytes[128] / costs.state_bytes[8]
    assert growth == 1 if "retnet" in spec else growth > 8
    limited = model_for(task, "transformer dim=16 positions=learned(max_length=40)")
    assert lengths_for(task, limited) == [8, 16]


def test_what_cannot_read_the_source_is_refused(tmp_path: Path) -> None:
    task = Reversal(length=8)
    with pytest.raises(ValueError, match="takes at most 12 tokens, task 'reversal' has 16"):
        model_for(task, "transformer positions=learned(max_length=12)")
    with pytest.raises(ValueError, match="takes at most 7 tokens, task 'reversal' has 8"):
        model_for(task, "encoder_decoder encoder=(positions=learned(max_length=7))")
    with pytest.raises(ValueError, match="an output a token must not depend on later tokens"):
        model_for(task, "encoder_decoder causal=False")
    model = model_for(task, "mamba dim=8")
    save_bundle(tmp_path, model, task)
    with pytest.raises(ValueError, match="holds a model that answers to a source: use predict"):
        load_bundle(tmp_path).generate("1 2")
