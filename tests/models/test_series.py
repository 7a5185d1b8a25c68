"""Models of windows of series, against their definitions, and on series whose structure is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anyformer.models import SequenceModel, create_model, load_spec, match_parameters
from anyformer.schema import NUMBERS
from anyformer.tasks import score_reference
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.linear_forecast import ChannelLinear
from anyformer.tasks.steps import Series
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.models import io_for

STEPS, HORIZON = 30, 6
MODELS = ("dlinear", "nlinear", "nhits", "patchtst", "itransformer", "tsmixer")


def window(columns: int = 3, targets: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    return {"steps": STEPS, "columns": columns, "targets": list(targets), "horizon": HORIZON}


def build(name: str, columns: int = 3, targets: tuple[int, ...] = (0, 1, 2), **changes: Any) -> SequenceModel:
    torch.manual_seed(0)
    marks, levels = changes.pop("marks", 1), changes.pop("levels", 1)
    model = create_model(
        load_spec(name, **{"dim": 16, **changes}),
        num_features=columns * marks,
        num_outputs=HORIZON * len(targets) * levels,
        pool="last",
        window=window(columns, targets),
    )
    return model.double().eval()


def windows(columns: int = 3, batch: int = 4, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, STEPS, columns, generator=generator, dtype=torch.float64)


def test_dlinear_is_the_papers() -> None:
    """Of full rank, with the identity as head: both maps of Zeng et al. 2023, and a moving average of 25 steps."""
    model, x = build("dlinear", dim=HORIZON), windows()
    rest, trend = (nn.Linear(STEPS, HORIZON).double() for _ in range(2))
    with torch.no_grad():
        model.embed.project.weight.copy_(torch.cat([rest.weight, trend.weight], 1))
        model.embed.project.bias.copy_(rest.bias + trend.bias)
        model.head.weight.copy_(torch.eye(HORIZON))
        model.head.bias.zero_()
    ends = torch.cat([x[:, :1].expand(-1, 12, -1), x, x[:, -1:].expand(-1, 12, -1)], 1)
    smooth = torch.stack([ends[:, t : t + 25].mean(1) for t in range(STEPS)], 1)
    theirs = rest((x - smooth).mT) + trend(smooth.mT)
    torch.testing.assert_close(model(x), theirs.mT.flatten(1))


def test_nlinear_is_the_papers() -> None:
    model, x = build("nlinear", dim=HORIZON), windows()
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(HORIZON))
    linear = nn.Linear(STEPS, HORIZON).double()
    linear.load_state_dict(
        {"weight": model.embed.project.weight, "bias": model.embed.project.bias + model.head.bias}
    )
    theirs = linear((x - x[:, -1:]).mT).mT + x[:, -1:]
    torch.testing.assert_close(model(x), theirs.flatten(1))
    torch.testing.assert_close(model(x + 3), model(x) + 3)


@pytest.mark.parametrize("name", ["dlinear", "nlinear", "nhits", "patchtst", "tsmixer"])
def test_channel_independent_models_read_each_target_by_itself(name: str) -> None:
    model, x = build(name, targets=(2, 0)), windows()
    y, other = model(x).unflatten(1, (HORIZON, 2)), x.clone()
    other[..., 1:] += windows(2, seed=2)
    changed = model(other).unflatten(1, (HORIZON, 2))
    assert not torch.allclose(changed[..., 0], y[..., 0])
    torch.testing.assert_close(changed[..., 1], y[..., 1])
    alone = build(name, 1, (0,))
    alone.load_state_dict(model.state_dict())
    torch.testing.assert_close(alone(x[..., 2:]), y[..., 0])


def test_itransformer_knows_no_order_of_columns() -> None:
    model, x, order = build("itransformer"), windows(), [2, 0, 1]
    y = model(x).unflatten(1, (HORIZON, 3))
    torch.testing.assert_close(model(x[..., order]).unflatten(1, (HORIZON, 3)), y[..., order])
    other = x.clone()
    other[..., 1] += windows(1, seed=2)[..., 0]
    assert not torch.allclose(model(other).unflatten(1, (HORIZON, 3))[..., 0], y[..., 0])
    more = build("itransformer", 5, (0, 4))  # the weights are for any number of columns
    more.load_state_dict(model.state_dict())
    assert more(windows(5)).shape == (4, HORIZON * 2)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_steps_then_targets_then_quantiles(name: str) -> None:
    model = build(name, targets=(2, 0), levels=3)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.arange(HORIZON * 3))
    x = windows()
    y = model(x).unflatten(1, (HORIZON, 2, 3))
    if name in ("nlinear", "nhits"):
        y = y - x[:, -1, [2, 0]][:, None, :, None]
    expected = torch.arange(HORIZON * 3.0, dtype=torch.float64).view(HORIZON, 1, 3).expand(4, -1, 2, -1)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("name", MODELS)
def test_marks_of_missing_values_are_read(name: str) -> None:
    model, x = build(name, marks=2), windows()
    whole = torch.cat([x, torch.zeros_like(x)], 2)
    marked = torch.cat([x, torch.ones_like(x)], 2)
    assert not torch.allclose(model(marked), model(whole))


@pytest.mark.parametrize("coarsest", [5, 1])
def test_nhits_reads_what_coarser_rates_leave(coarsest: int) -> None:
    """By the loops of its definition: pooled, told, interpolated between the middles of pools, and taken off."""
    model, x = build("nhits", 2, (1,), coarsest=coarsest), windows(2)
    embed, rest = model.embed, (x[:, :, 1] - x[:, -1:, 1]).clone()
    pooled = [5, 2, 1] if coarsest == 5 else [1, 1, 1]
    assert embed.pooled == pooled
    for place, size in enumerate(pooled):
        ends = range(0, STEPS, size)
        largest = torch.stack([rest[:, begin : begin + size].amax(1) for begin in ends], 1)
        token = embed.second[place](embed.first[place](largest).relu()).relu()
        torch.testing.assert_close(token, embed({NUMBERS: x})[:, place])
        if place < 2:
            told = embed.back[place](token)
            for t in range(STEPS):
                at = min(max((t + 0.5) * len(ends) / STEPS - 0.5, 0.0), len(ends) - 1.0)
                low = min(int(at), len(ends) - 2)
                rest[:, t] = rest[:, t] - told[:, low].lerp(told[:, low + 1], at - low)


@pytest.mark.parametrize("name", ["itransformer", "tsmixer columns=all"])
def test_a_head_reads_the_tokens_of_each_target(name: str) -> None:
    model, x = build(name, targets=(2, 0)), windows()
    h, read = model.hidden(x), []
    hook = model.head.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    model(x)
    hook.remove()
    tokens = h.shape[1] // 3
    expected = [h[:, c * tokens : (c + 1) * tokens].flatten(1) for c in (2, 0)]
    torch.testing.assert_close(read[0], torch.stack(expected, 1), rtol=0, atol=0)


def test_what_windows_are_not_read_by_says_why() -> None:
    with pytest.raises(ValueError, match="embed must be left out for tokens, got variates"):
        create_model("dlinear", vocab_size=5)
    stream = {"fields": [{"name": "numbers", "width": 3}, {"name": "shop", "size": 4}]}
    with pytest.raises(
        ValueError, match="variates embeds windows .* or have columns that are known ahead, static"
    ):
        create_model("itransformer", stream=stream, num_outputs=6, pool="last")
    with pytest.raises(
        ValueError, match="series_patches is for forecasts that are read from their window at once"
    ):
        create_model("patchtst", num_features=3, num_outputs=18, window=window())
    with pytest.raises(ValueError, match="num_outputs must be as many for each of 3 targets, got 10"):
        create_model("patchtst", num_features=3, num_outputs=10, pool="last", window=window())
    model, x = build("patchtst"), windows()
    with pytest.raises(ValueError, match="x must be windows of 30 steps for this model, got 29"):
        model(x[:, 1:])
    with pytest.raises(ValueError, match="mask must be None with embed=series_patches.* filled and marked"):
        model(x, torch.ones(4, STEPS, dtype=torch.bool))
    with pytest.raises(ValueError, match="does not stream: a window is read whole"):
        model.init_state(4)
    for options, words in {
        "size=31": "size of series_patches must be from 1 to 30",
        "size=4, stride=5": "stride of series_patches must be from 1 to 4",
        "columns=some": "columns of series_patches must be all or targets, got 'some'",
    }.items():
        with pytest.raises(ValueError, match=words):
            build("patchtst", embed=f"series_patches({options})")
    with pytest.raises(ValueError, match="trend of variates must be at least 2 steps, got 1"):
        build("dlinear", trend=1)
    with pytest.raises(ValueError, match="rates of multirate must be at least 1, got 0"):
        build("nhits", rates=0)
    with pytest.raises(ValueError, match="coarsest of multirate must be at least 1, got 0"):
        build("nhits", coarsest=0)
    with pytest.raises(
        ValueError, match="none is a layer without a token mixer and has no options, got none"
    ):
        create_model("[none(window=3)]", vocab_size=5)


def test_a_layer_without_a_token_mixer() -> None:
    model = create_model("[none]*2 channel=mlp dim=8", vocab_size=5)
    assert [mixer.info.name for mixer in model.body.stack.mixers] == ["mlp", "mlp"]
    assert model.body.info.reach == (0, 0)


def task_of(values: np.ndarray, targets: list[int], **options: Any) -> ForecastTask:
    names = [f"c{i}" for i in range(values.shape[1])]
    wanted = [names[i] for i in targets]
    given = {"context": 48, "horizon": 12, **options}
    return ForecastTask([Series(values, 0, "")], names, wanted, name="known", **given)


def trained(task: ForecastTask, name: str, steps: int, rate: float = 0.01, **changes: Any) -> float:
    model = model_for(task, name, **{"dim": 32, **changes})
    trainer = Trainer(model, task, TrainConfig(steps=steps, batch_size=32, learning_rate=rate))
    trainer.run()
    return trainer.evaluate("test").value


@pytest.mark.parametrize("name", MODELS)
def test_sizes_are_matched(name: str) -> None:
    task = task_of(np.random.default_rng(0).standard_normal((600, 3)), [0, 2])
    spec = match_parameters(load_spec(name), 20_000, **io_for(task))
    assert model_for(task, spec).num_parameters() == pytest.approx(20_000, rel=0.02)


def test_trend_and_season_are_forecast_to_the_noise() -> None:
    """The best forecast is off by the noise, whose mean absolute value is 0.3 sqrt(2 / pi)."""
    t = np.arange(1500)
    noise = 0.3 * np.random.default_rng(0).standard_normal(1500)
    task = task_of((0.02 * t + 2 * np.sin(2 * np.pi * t / 12) + noise)[:, None], [0])
    least = 0.3 * (2 / np.pi) ** 0.5
    assert score_reference(ChannelLinear([0]).fit(task), task) < 1.1 * least
    for name in ("dlinear", "nlinear", "patchtst"):
        assert trained(task, name, 120) < 1.15 * least, name


def test_itransformer_reads_the_other_columns() -> None:
    """The target repeats another column, which is noise, 12 steps later: by itself it cannot be told."""
    x = np.random.default_rng(0).standard_normal((1512, 2))
    task = task_of(np.stack([x[12:, 0], x[:-12, 0], x[12:, 1]], 1), [1])
    blind = (2 / np.pi) ** 0.5
    assert trained(task, "itransformer", 120) < 0.65 * blind
    assert trained(task, "dlinear", 60) > 0.95 * blind
