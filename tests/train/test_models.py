"""Models for tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyformer.compare.run.costs import bare_trainer, measure
from anyformer.tasks import create_task
from anyformer.tasks.fingerprint import sample_of_task
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.models import outputs_of, spec_for
from anyformer.user_code import load_file

Degrees = load_file(str(Path(__file__).parent / "relations.py")).Degrees
TASK = create_task("recall", length=16, num_pairs=3, vocab_size=16)


def test_a_bidirectional_model_may_not_predict_the_next_token() -> None:
    with pytest.raises(ValueError, match="an output a token must not depend on later tokens"):
        model_for(TASK, "linformer dim=32")


def test_a_spec_follows_the_task_in_what_it_leaves_open() -> None:
    task = Degrees()
    assert str(spec_for(task, "transformer")) == "[attention*2] positions=none causal=false"
    assert spec_for(task, "transformer causal=true").causal
    assert spec_for(TASK, "transformer").causal
    again = spec_for(task, spec_for(task, "mamba dim=8").model_dump())
    assert again == spec_for(task, "mamba dim=8") and model_for(task, again).body.info.reach == (None, None)


def test_a_task_gives_side_inputs_to_the_mixers_that_take_them() -> None:
    task = Degrees()
    trainers = {}
    for name in ("gin depth=1", "transformer depth=1"):
        trainers[name] = Trainer(
            model_for(task, f"{name} dim=16"), task, TrainConfig(steps=40, batch_size=32)
        )
        trainers[name].run()
    scores = {name: trainer.evaluate("test").value for name, trainer in trainers.items()}
    assert scores["gin depth=1"] > 0.97 > 0.9 > scores["transformer depth=1"], scores
    batch = task._take("test", torch.arange(2).numpy(), 6)
    model = trainers["gin depth=1"].model.eval()
    assert torch.equal(outputs_of(model, batch)[:1], outputs_of(model, batch[:1]))


def test_a_model_that_needs_side_inputs_is_for_data_that_has_them() -> None:
    with pytest.raises(ValueError, match="cannot do task 'recall': it needs edges beside the inputs"):
        model_for(TASK, "gin dim=16")


def test_costs_and_fingerprints_know_side_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Degrees()
    costs = measure(bare_trainer(task, model_for(task, "graphormer dim=16"), 4), 2.0)
    assert costs.flops_per_token and costs.memory_bytes and list(costs.prefill_ms)[:2] == [6, 12]
    assert costs.notes == ["does not stream: it looks at all later tokens"]
    before, take = sample_of_task(task), Degrees._take

    def other(*args: object) -> object:
        batch = take(*args)
        batch.side["edges"][0, 0, 1] += 1
        return batch

    monkeypatch.setattr(Degrees, "_take", other)
    assert sample_of_task(task) != before
