"""Tables of several series with known laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.tasks import Task, open_data
from anyformer.tasks.forecasting import ForecastTask
from anyformer.train import model_for
from anyformer.train.trainer import TrainConfig, Trainer

AHEAD = 8


def sales(steps: int = 300, shops: int = 4, noise: float = 0.03, seed: int = 0) -> pd.DataFrame:
    """Sales of shops, doubled on the days of a promotion, which are drawn; the last ``AHEAD`` are not sold yet."""
    rng = np.random.default_rng(seed)
    parts = []
    for shop in range(shops):
        promo = rng.random(steps + AHEAD) < 0.3
        level = rng.uniform(20, 60)
        sold = level * (1 + promo) * (1 + noise * rng.standard_normal(steps + AHEAD))
        sold[steps:] = np.nan
        days = pd.date_range("2022-01-01", periods=steps + AHEAD).strftime("%d.%m.%Y")
        parts.append(
            pd.DataFrame({"day": days, "shop": f"s{shop}", "sold": sold, "promo": promo.astype(int)})
        )
    return pd.concat(parts, ignore_index=True)


def opened(folder: Path, frame: pd.DataFrame, target: Any = "sold", **options: Any) -> ForecastTask:
    """The task of a frame, written to a file."""
    frame.to_csv(folder / "data.csv", index=False)
    task = open_data(folder / "data.csv", target, **{"group": "shop", **options})
    assert isinstance(task, ForecastTask)
    return task


def trained(task: Task, spec: str, steps: int, **config: Any) -> Trainer:
    """A trainer that has taken so many steps."""
    settings = TrainConfig(steps=steps, **{"learning_rate": 5e-3, **config})
    trainer = Trainer(model_for(task, spec), task, settings, device="cpu")
    trainer.run()
    return trainer
