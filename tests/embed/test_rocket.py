"""Shares of fixed kernels as tokens: by the formula and the reference's, fitted, saved, learnt from; and errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anyformer.embed import create_embedder, rocket
from anyformer.embed.rocket import Rocket
from anyformer.layers.rocket import KERNELS
from anyformer.models import SequenceModel, create_model, load_spec, match_parameters
from anyformer.models.size import count_parameters
from anyformer.schema import NUMBERS, Field, StreamFacts
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.rocket import MiniRocket
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.models import io_for


def shapes(count: int, channels: int = 1, *, ragged: bool = False) -> LabelledTask:
    """Noise with a peak or the same peak in reversed time, anywhere, in the last channel."""
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 2, count), rng.normal(size=(count, 60, channels)) * 0.1
    saw = np.linspace(0, 1, 15) - 0.5
    for row, (up, start) in enumerate(zip(y, rng.integers(0, 35, count))):
        x[row, start : start + 15, -1] += saw if up else saw[::-1]
    mask = np.arange(60) < rng.integers(50, 61, count)[:, None] if ragged else None
    return LabelledTask(x, y, name="made", classes=["down", "up"], mask=mask)


def embedder(task: LabelledTask, **options: int) -> Rocket:
    found = create_embedder(
        "rocket", StreamFacts(fields=[Field(name=NUMBERS, width=task.num_features)]), 8, **options
    )
    assert isinstance(found, Rocket)
    known = task.train_sample(40)
    found.fit({NUMBERS: known.x}, known.mask)
    return found


def test_tokens_are_the_formula_on_the_shares_of_the_reference() -> None:
    task = shapes(80, 3, ragged=True)
    embed, reference, batch = embedder(task), MiniRocket().fit(task), task.sample("test", 9)
    x, mask = batch.x, batch.mask
    assert mask is not None
    steps, both = torch.zeros_like(x), torch.zeros_like(mask)
    both[:, 1:] = mask[:, 1:] & mask[:, :-1]
    steps[:, 1:] = x[:, 1:] - x[:, :-1]
    parts = []
    for reference.shares, given in (
        (embed.levels, batch),
        (embed.changes, replace(batch, inputs=steps, mask=both)),
    ):
        parts.append(torch.from_numpy(reference.features(given)))
    shares = torch.cat(parts, 1)
    z = (shares.clamp(embed.lowest, embed.highest) - embed.mean) / embed.scale
    assert 0 < float((shares > embed.highest).float().mean()) < 0.02
    expected = z @ embed.basis.double() @ embed.project.weight.double().T + embed.project.bias
    torch.testing.assert_close(
        embed.eval()({NUMBERS: x}, mask)[:, 0].double(), expected, atol=1e-6, rtol=1e-5
    )


def test_shares_are_standardised_by_training_series() -> None:
    task = shapes(80)
    embed, known = embedder(task, segments=2), task.train_sample(40)
    z = (embed._shares(*embed._series({NUMBERS: known.x}, None)) - embed.mean) / embed.scale
    assert z.shape == (40, 2, 32 * KERNELS) and float(z.mean((0, 1)).abs().max()) < 1e-3
    deviation = z.flatten(0, 1).std(0, correction=0)
    assert bool((((deviation - 1).abs() < 0.01) | (deviation == 0)).all())


@pytest.mark.parametrize("line", ["rocket", "[attention] embed=rocket(features=4, segments=3) causal=false"])
def test_what_lies_around_a_series_changes_nothing(line: str) -> None:
    task = shapes(60, 2, ragged=True)
    model = model_for(task, line, dim=8).eval()
    batch = task.sample("test", 5)
    y = model(batch.x, batch.mask)
    x, mask = (torch.cat([t.new_ones(5, 3, *t.shape[2:]), t], 1) for t in (batch.x, batch.mask))
    mask[:, :3] = False
    torch.testing.assert_close(model(torch.where(mask[..., None], x, 7.0), mask), y)
    one = int(batch.mask[2].sum())
    torch.testing.assert_close(model(batch.x[2:3, :one]), y[2:3])


def test_all_seeds_have_the_same_fit_and_a_folder_keeps_it(tmp_path: Path) -> None:
    task = shapes(60, 2)
    model = model_for(task, "rocket(features=4)", dim=8).eval()
    same, other = (model_for(task, "rocket(features=4)", dim=8, seed=seed).eval() for seed in (0, 1))
    x = task.sample("test", 5).x
    assert torch.equal(same(x), model(x)) and not torch.equal(other(x), model(x))
    assert torch.equal(other.embed.levels.biases, model.embed.levels.biases)
    assert torch.equal(other.embed.basis, model.embed.basis)
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path, strict=True).eval()
    assert torch.equal(again(x), model(x)) and str(again.spec) == str(model.spec)
    assert again.embed.levels.dilations.tolist() == model.embed.levels.dilations.tolist() != [1, 1, 1]


def test_series_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = shapes(60, ragged=True)
    embed, other, batch, read = (
        embedder(task, features=4),
        embedder(task, features=4),
        task.sample("test", 6),
        [],
    )
    found = Rocket._shares
    monkeypatch.setattr(
        Rocket, "_shares", lambda self, x, real: [read.append(len(x)), found(self, x, real)][1]
    )
    first = embed({NUMBERS: batch.x[:4]}, batch.mask[:4])
    both = embed.eval()({NUMBERS: batch.x}, batch.mask)
    assert read == [4, 2] and torch.equal(both[:4], first)
    other.load_state_dict(embed.state_dict())
    assert torch.equal(other({NUMBERS: batch.x}, batch.mask), both) and read == [4, 2], (
        "as it was fitted alike"
    )
    other.mean.add_(1)
    changed = other({NUMBERS: batch.x}, batch.mask)
    assert read == [4, 2, 6] and not torch.equal(changed, both)
    embed({NUMBERS: batch.x}, None)
    assert read == [4, 2, 6, 6], "other steps are real"


def test_no_more_series_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    task = shapes(60)
    embed, x = embedder(task, features=4), task.sample("test", 12).x
    expected = embed({NUMBERS: x})
    monkeypatch.setattr("anyformer.embed.rocket._known", {})
    monkeypatch.setattr("anyformer.embed.rocket.KEPT", 5 * 256 * 4)
    for size in (4, 3, 12, 1):
        parts = [embed({NUMBERS: part}) for part in x.split(size)]
        torch.testing.assert_close(torch.cat(parts), expected)
    assert len(rocket._known) == 5


def test_a_fit_is_made_once_for_the_same_series(monkeypatch: pytest.MonkeyPatch) -> None:
    known, fits = shapes(60).train_sample(40).x, []
    found = Rocket._fit
    monkeypatch.setattr(Rocket, "_fit", lambda self, *given: [fits.append(1), found(self, *given)][1])
    made = []
    for shift in (5, 5, 6, *range(20, 30), 5):
        made.append(Rocket(StreamFacts(fields=[Field(name=NUMBERS, width=1)]), 8, features=4))
        made[-1].fit({NUMBERS: known + torch.linspace(0, shift, 60)[:, None]})
    assert len(fits) == 13, "the first is no longer kept at the end"
    assert torch.equal(made[0].basis, made[1].basis) and torch.equal(made[0].basis, made[-1].basis)
    assert not torch.equal(made[0].basis, made[2].basis) and len(rocket._fits) == rocket.FITS


def test_few_steps_find_shapes_wherever_they_lie() -> None:
    task = shapes(100)
    trainer = Trainer(
        model_for(task, "rocket", dim=8), task, TrainConfig(steps=60, batch_size=8, learning_rate=1e-2)
    )
    before = trainer.evaluate("test").value
    trainer.run(60)
    assert trainer.evaluate("test").value > 0.9 > before


def test_a_width_is_solved_for() -> None:
    spec = load_spec("rocket")
    io = io_for(shapes(60, 6))
    assert abs(count_parameters(match_parameters(spec, 70_000, **io), **io) / 70_000 - 1) < 0.02


def test_wrong_inputs_and_options() -> None:
    numbers = {"num_features": 2, "num_outputs": 3, "pool": "mean", "dim": 8}
    x = np.random.default_rng(0).normal(size=(40, 8, 1))
    short = LabelledTask(x, np.arange(40) % 2, name="short", classes=["a", "b"])
    assert "rocket" not in short.candidates and "rocket" in shapes(60).candidates
    with pytest.raises(ValueError, match="rocket is for series of at least 9 steps, .* have at most 8"):
        model_for(short, "rocket")
    fields = {"fields": [Field(name="a", width=1), Field(name="b", size=3)]}
    with pytest.raises(ValueError, match="numbers alone, and these inputs have the category 'b'"):
        create_model("rocket", stream=fields, num_outputs=2, pool="mean")
    with pytest.raises(ValueError, match="features of rocket must be at least 4, got 3"):
        create_model("rocket(features=3)", **numbers)
    with pytest.raises(ValueError, match="segments of rocket must be at least 1, got 0"):
        create_model("[attention] embed=rocket(segments=0)", **numbers)
    with pytest.raises(
        ValueError, match="rocket reads a sequence whole, for one answer, .* asks for several"
    ):
        create_model("rocket", **{**numbers, "pool": None})
    with pytest.raises(ValueError, match="embed must be left out for tokens, got rocket"):
        create_model("rocket", vocab_size=3)
    with pytest.raises(ValueError, match="does not stream: a sequence is read whole"):
        create_model("rocket", **numbers).init_state(2)


def test_an_embedder_is_fitted_unless_a_checkpoint_is_loaded() -> None:
    x = np.random.default_rng(0).normal(size=(30, 12, 1))
    task = LabelledTask(x, np.arange(30) % 2, name="drawn", classes=["no", "yes"])
    fitted, bare = (model_for(task, "rocket dim=4", fitted=fitted) for fitted in (True, False))
    assert not fitted.embed.mean.eq(0.5).all() and bare.embed.mean.eq(0.5).all()
    bare.load_state_dict(fitted.state_dict())
    fitted.eval(), bare.eval()
    batch = task.train_batch(0, 4)
    assert torch.equal(bare(batch.inputs), fitted(batch.inputs))
