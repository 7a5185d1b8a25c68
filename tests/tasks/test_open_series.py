"""Forecasts of tables with covariates: what they are known to be worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.metrics import create_metric
from anyformer.tasks import Task, score_reference
from anyformer.tasks.base import SPLITS
from anyformer.tasks.batch import Batch

from .panels import AHEAD, opened, sales, trained


def references(task: Task) -> dict[str, float]:
    return {one.name: score_reference(one.fit(task), task) for one in task.references()}


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The error of the best that does not know the promotions ahead."""
    blind = opened(tmp_path_factory.mktemp("blind"), sales(), horizon=AHEAD, context=16, drop="promo")
    return min(*references(blind).values(), trained(blind, "[attention] dim=32", 80).evaluate("test").value)


class TestKnownAhead:
    """A promotion doubles the sales."""

    @pytest.mark.parametrize("spec", ["[attention] dim=32", "encoder_decoder depth=1 dim=32"])
    def test_a_model_that_knows_it_errs_by_less_than_a_quarter(
        self, tmp_path: Path, spec: str, without: float
    ) -> None:
        task = opened(tmp_path, sales(), horizon=AHEAD, context=16, known="promo")
        assert trained(task, spec, 80).evaluate("test").value < without / 4

    def test_so_do_the_references_that_read_it(self, tmp_path: Path, without: float) -> None:
        task = opened(tmp_path, sales(200, 2), horizon=AHEAD, context=16, known="promo")
        found = references(task)
        assert max(found["linear"], found["boosted trees"]) < 0.4 * min(without, found["last value"])

    def test_the_inputs_of_a_step_are_what_is_known_of_it(self, tmp_path: Path) -> None:
        frame = sales()
        task = opened(tmp_path, frame, horizon=AHEAD, context=16, known="promo", category="promo")
        batch = task.sample("test", 50)
        assert isinstance(batch.inputs, dict) and batch.source is not None
        codes = batch.inputs["promo"]
        assert codes.shape == (len(batch), AHEAD) and batch.targets.shape == (len(batch), AHEAD, 1)
        values = torch.from_numpy(batch.in_units(batch.targets))[..., 0]
        means = [values[codes == code].mean() for code in codes.unique()]
        assert len(means) == 2 and max(means) > 1.5 * min(means)
        assert task.train_length == AHEAD and task.source_length == 16 and task.sees_whole

    def test_the_future_changes_no_window_before_it(self, tmp_path: Path) -> None:
        frame, changed = sales(), sales()
        place = changed.groupby("shop").cumcount()
        changed.loc[(place >= 250) & (place < 300), ["sold", "promo"]] = [1e6, 1]
        one, other = (opened(tmp_path, f, horizon=AHEAD, context=16, known="promo") for f in (frame, changed))
        assert _equal(one.sample("train", 200), other.sample("train", 200))
        assert _equal(one.sample("valid", 200), other.sample("valid", 200))
        assert not _equal(one.sample("test", 200), other.sample("test", 200))

    def test_the_rows_after_the_end_are_not_trained_on(self, tmp_path: Path) -> None:
        frame = sales()
        task = opened(tmp_path, frame, known="promo")
        assert len(task._values) == frame["sold"].notna().sum()
        assert "the last 32 rows have no 'sold': they are the future to be forecast" in task.notes()
        unused = opened(tmp_path, frame)
        assert any(
            "'promo', known there, is not used unless known='promo' says so" in n for n in unused.notes()
        )


def _equal(a: Batch, b: Batch) -> bool:
    assert a.source is not None and b.source is not None
    assert isinstance(a.inputs, dict) and isinstance(a.source.inputs, dict)
    pairs = [(a.inputs[name], b.inputs[name]) for name in a.inputs]  # type: ignore[index]
    pairs += [(a.source.inputs[name], b.source.inputs[name]) for name in a.source.inputs]  # type: ignore[index]
    return all(torch.equal(x, y) for x, y in [*pairs, (a.targets, b.targets)])


def patterned(steps: int = 240, shops: int = 8) -> pd.DataFrame:
    """Series that rise or fall by ten for three steps of eight, as their kind says."""
    rng = np.random.default_rng(1)
    parts = []
    for shop in range(shops):
        sign = (-1) ** shop
        values = np.tile([0, 0, 0, 0, 0, 10, 10, 10], steps // 8) * sign + 0.3 * rng.standard_normal(steps)
        days = pd.date_range("2022-01-01", periods=steps).strftime("%Y-%m-%d")
        kind = "up" if sign > 0 else "down"
        parts.append(pd.DataFrame({"day": days, "shop": f"s{shop}", "sold": values, "kind": kind}))
    return pd.concat(parts, ignore_index=True)


def test_a_category_decides_the_pattern_of_a_series(tmp_path: Path) -> None:
    """Nothing else tells after a flat window of four steps where it goes on."""
    with_kind = opened(tmp_path, patterned(), context=4, horizon=4)
    without = opened(tmp_path, patterned().drop(columns="kind"), context=4, horizon=4)
    assert with_kind.stream is not None and with_kind.stream.names == ["(numbers)", "kind"]
    errors = [
        trained(task, "[attention] dim=32", 120).evaluate("test").value for task in (with_kind, without)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_the_interval_of_noise_covers_what_it_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    days = pd.date_range("2022-01-01", periods=600).strftime("%Y-%m-%d")
    frame = pd.concat(
        pd.DataFrame({"day": days, "shop": shop, "sold": 10 + rng.standard_normal(600)}) for shop in "abc"
    )
    task = opened(tmp_path, frame, context=24, horizon=4, quantiles=[0.1, 0.5, 0.9])
    trainer = trained(task, "[attention] dim=16", 150)
    task.metric = create_metric("coverage", task.question)
    assert 0.7 < trainer.evaluate("test").value < 0.9
    assert task.metric.info.best == 0.8


class TestCalendar:
    def test_the_day_of_the_week_tells_what_the_window_does_not(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        days = pd.date_range("2022-01-03", periods=420)
        sold = 20 + 10 * np.sin(2 * np.pi * np.arange(420) / 7) + rng.standard_normal(420)
        frame = pd.DataFrame({"day": days.strftime("%Y-%m-%d"), "sold": sold})
        plain = opened(tmp_path, frame, group=None, context=2, horizon=5)
        task = opened(tmp_path, frame, group=None, context=2, horizon=5, calendar=True)
        assert task.encoding.covariates.calendar == ["day of week"]
        said = "known ahead of the dates: day of week; left out: day of year, as the training part is shorter"
        assert any(said in note for note in task.notes())
        assert references(task)["linear"] < 0.6 * references(plain)["linear"]

    def test_hours_of_utc_are_named_as_such(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        hours = pd.date_range("2023-03-20", periods=600, freq="h", tz="Europe/Berlin")
        frame = pd.DataFrame({"hour": hours.map(lambda at: at.isoformat()), "sold": rng.standard_normal(600)})
        told = "hours and days of the calendar are those of UTC, in which the steps are regular"
        options = {"group": None, "context": 4, "horizon": 2}
        assert told in opened(tmp_path, frame, calendar=True, **options).notes()
        assert told not in opened(tmp_path, frame, **options).notes()
        frame["hour"] = pd.date_range("2023-03-20", periods=600, freq="h").strftime("%Y-%m-%d %H:%M")
        assert told not in opened(tmp_path, frame, calendar=True, **options).notes()

    def test_what_no_period_fits_is_refused(self, tmp_path: Path) -> None:
        days = pd.date_range("1950-01-01", periods=60, freq="YS").strftime("%Y-%m-%d")
        frame = pd.DataFrame({"day": days, "sold": np.random.default_rng(0).normal(size=60)})
        with pytest.raises(
            ValueError, match="calendar: no hour of the day, day of the week or day of the year can be"
        ):
            opened(tmp_path, frame, group=None, calendar=True)


class TestGaps:
    def test_an_absent_step_has_the_facts_of_its_series_and_no_other_category(self, tmp_path: Path) -> None:
        frame = sales(120, 2)
        frame["sky"] = np.where(np.arange(len(frame)) % 3 == 0, "rain", "sun")
        frame["region"] = frame["shop"].map({"s0": "north", "s1": "south"})
        frame["size"] = frame["shop"].map({"s0": 3.0, "s1": 5.0})
        frame = frame.drop(index=[10, 11, 12])
        steps = opened(tmp_path, frame, known="promo")._steps
        assert steps.texts["sky"][9:13].tolist() == ["rain", None, None, None]
        assert steps.texts["region"][9:13].tolist() == ["north"] * 4
        assert steps.covariates[10].tolist()[1] == 3.0 and np.isnan(steps.covariates[10, 0])

    def test_of_rows_that_share_a_step_the_last_text_counts(self, tmp_path: Path) -> None:
        frame = sales(120, 2)
        frame["sky"] = np.where(np.arange(len(frame)) % 3 == 0, "rain", "sun")
        again = frame.loc[[5]].assign(sold=0.0, sky="snow")
        task = opened(tmp_path, pd.concat([frame, again, frame.loc[[6]].assign(sky="snow")]))
        assert task._steps.texts["sky"][5] == "snow"
        assert any("averaged, the last of categories counts" in note for note in task.notes())

    def test_categories_are_fitted_on_the_training_part(self, tmp_path: Path) -> None:
        frame = sales(200, 2)
        late = frame.groupby("shop").cumcount() >= 150
        frame["sky"] = np.where(late, "snow", np.where(np.arange(len(frame)) % 2, "rain", "sun"))
        task = opened(tmp_path, frame)
        (sky,) = task.encoding.categories
        assert sky.values == ["rain", "sun"] and (task._codes["sky"][:200][150:] == 1).all()
        assert any("1 more that training shows at most once are read as one" in note for note in task.notes())
        for split in SPLITS:
            assert task.sample(split, 10).targets.isfinite().all()
