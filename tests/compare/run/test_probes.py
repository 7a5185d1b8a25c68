"""Changed inputs: what is asked stays, and nothing but what is named changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anyformer.compare.run.probes import (
    _asked_last,
    _cut,
    _held,
    _shuffled,
    _without_line,
    evaluate_probe,
    probes_for,
)
from anyformer.tasks import Batch, create_task, open_data
from anyformer.train import model_for

MODEL = "hgrn2 dim=16 depth=1"


def written(path: Path, columns: dict[str, np.ndarray]) -> Path:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows), ""]))
    return path


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    steps = np.arange(300)
    noise = np.random.default_rng(0).normal(0, 1, (2, 300))
    days = [f"2023-{1 + i // 28 % 12:02d}-{1 + i % 28:02d}" for i in range(300)]
    columns = {"level": 0.5 * steps + noise[0], "rain": noise[1]}
    return written(tmp_path_factory.mktemp("series") / "river.csv", {"step": np.array(days), **columns})


def kinds(task: object) -> list[str]:
    return [probe.kind for probe in probes_for(task, model_for(task, MODEL))]  # type: ignore[arg-type]


def test_what_is_asked_of_which_data(series: Path, tmp_path: Path) -> None:
    forecast = open_data(series, "level", kind="forecast")
    assert set(kinds(forecast)) == {"whole", "order", "context", "variates", "trend"}
    text = create_task("bytes", length=32, max_bytes=20_000)
    assert set(kinds(text)) == {"whole", "order", "context"}
    rows = np.random.default_rng(0).integers(0, 9, (3, 60))
    columns = {"a": rows[0], "b": rows[1], "c": np.array(["xyz"[i % 3] for i in rows[2]]), "y": rows[0] > 4}
    table = open_data(written(tmp_path / "table.csv", columns), "y")
    assert set(kinds(table)) == {"whole", "variates"}
    assert kinds(create_task("lookup", length=16))[0] == "whole"


def test_order_is_changed_among_real_elements_and_not_at_the_end_of_a_prefix() -> None:
    x = torch.arange(40).reshape(4, 10)
    mask = torch.arange(10) < torch.tensor([[10], [6], [3], [1]])
    whole = _shuffled(Batch(x, torch.zeros(4), mask), 0)
    assert whole.x.sort(1).values.equal(x) and not whole.x.equal(x)
    assert whole.x[~mask].equal(x[~mask])
    targets = torch.full((4, 10), -100)
    targets[:, 4] = 1
    ahead = _shuffled(Batch(x, targets), 0)
    assert ahead.x[:, 4:].equal(x[:, 4:]) and ahead.x[:, :4].sort(1).values.equal(x[:, :4])
    assert not ahead.x.equal(x)


def test_the_last_of_several_questions_is_asked() -> None:
    targets = torch.tensor([[1, 2, 3], [4, -100, -100]])
    assert _asked_last(Batch(targets, targets)).targets.tolist() == [[-100, -100, 3], [4, -100, -100]]
    numbers = Batch(torch.zeros(2, 3), torch.zeros(2, 1))
    assert _asked_last(numbers) is numbers


def test_the_past_is_cut_behind_what_is_asked() -> None:
    x, targets = torch.zeros(2, 6), torch.full((2, 6), -100)
    targets[0, 5] = targets[1, 3] = 1
    assert _cut(Batch(x, targets), 2).mask.int().tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 0]]  # type: ignore[union-attr]
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    cut = _cut(Batch(x, torch.zeros(2), mask), 2)
    assert cut.mask.int().tolist() == [[0, 0, 0, 0, 1, 1], [0, 1, 1, 0, 0, 0]]  # type: ignore[union-attr]


def test_models_that_read_windows_whole_see_the_oldest_kept_values_before(series: Path) -> None:
    """They take no mask."""
    x = torch.arange(12.0).reshape(1, 6, 2)
    held = _held(Batch(x, torch.zeros(1)), 2)
    assert held.x[0, :, 0].tolist() == [8, 8, 8, 8, 8, 10] and held.mask is None and x[0, 0, 0] == 0
    task = open_data(series, "level", kind="forecast")
    model = model_for(task, "dlinear").eval()
    probes = [probe for probe in probes_for(task, model) if probe.kind in ("whole", "context")]
    scores = [evaluate_probe(probe, task, model, 16, 8).value for probe in probes]
    assert len(scores) > 3 and len(set(scores)) == len(scores)


def test_a_line_is_taken_out_and_drawn_on() -> None:
    time = torch.arange(8.0)
    x = torch.stack([3 * time + 1, torch.sin(time)], -1)[None]
    batch, ahead = _without_line(Batch(x, torch.zeros(1, 3, 1)), (0,))
    assert batch.x[..., 1].equal(x[..., 1])
    torch.testing.assert_close(batch.x[..., 0], torch.full((1, 8), 3 * 3.5 + 1))
    torch.testing.assert_close(batch.x[0, 0, 0] + ahead[0], 3 * torch.tensor([8.0, 9, 10]) + 1)


class LastToken(nn.Module):
    """Answers with the token that it sees last, and needs no order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.head, self.body, self.sites = model.head, model.body, None

    def forward(self, x: Tensor, mask: Tensor | None = None, **given: object) -> Tensor:
        return nn.functional.one_hot(x, 256).float()


def test_the_scores_of_a_model_that_needs_the_last_token_alone() -> None:
    task = create_task("bytes", length=32, max_bytes=20_000)
    model = LastToken(model_for(task, MODEL))
    scores = {
        p.kind + p.detail: evaluate_probe(p, task, model, 40, 16).value for p in probes_for(task, model)
    }  # type: ignore[arg-type]
    assert len(set(scores.values())) == 1 and {"order", "context16", "context1"} <= set(scores)


def test_unchanged_forecasts_are_those_of_the_test(series: Path) -> None:
    from anyformer.train import TrainConfig, Trainer

    task = open_data(series, "level", kind="forecast")
    run = Trainer(model_for(task, MODEL), task, TrainConfig(steps=2, batch_size=4))
    run.run()
    model = run.model.eval()
    found = {p.kind: evaluate_probe(p, task, model, 32, 8) for p in probes_for(task, model)}
    assert found["whole"].value == pytest.approx(run.evaluate("test", items=32).value)
    assert found["variates"].value != found["whole"].value != found["trend"].value
    assert replace(found["whole"], items=found["order"].items).value == found["order"].value
