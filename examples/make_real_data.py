"""Write public data that packages carry, for ``anyformer bench real``: ``python make_real_data.py FOLDER``.

Needs aeon (time series to classify, in their published splits, and to forecast) and statsmodels; images and rows are
scikit-learn's. The folder's ``cases.yaml`` lists the comparisons.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

CLASSIFIED = (
    "ACSF1",
    "ArrowHead",
    "BasicMotions",
    "GunPoint",
    "ItalyPowerDemand",
    "JapaneseVowels",
    "OSULeaf",
    "PickupGestureWiimoteZ",
    "UnitTest",
)
Case = dict[str, Any]


def classified(folder: Path, name: str) -> Case:
    """Write a data set of the UCR or UEA archive, ``x`` (N, T, F), in its own split."""
    from aeon.datasets import load_classification

    parts = [load_classification(name, split=part) for part in ("train", "test")]
    samples = [np.asarray(one, dtype=np.float64) for x, _ in parts for one in x]
    lengths = np.array([one.shape[1] for one in samples])
    x = np.zeros((len(samples), lengths.max(), samples[0].shape[0]))
    for place, one in enumerate(samples):
        x[place, : one.shape[1]] = one.T
    arrays = {
        "x": x,
        "y": np.concatenate([y for _, y in parts]).astype(str),
        "split": np.repeat(["train", "test"], [len(y) for _, y in parts]),
        "axes": np.array("NTF"),
    }
    np.savez_compressed(folder / f"{name}.npz", **arrays, **({"lengths": lengths} if np.ptp(lengths) else {}))
    return {"data": f"{name}.npz", "name": name, "budget": "3m"}


def forecast(folder: Path) -> list[Case]:
    """Write short series: airline passengers, lynx, shampoo sales, sunspots, carbon dioxide."""
    from aeon.datasets import load_airline, load_lynx, load_shampoo_sales
    from statsmodels.datasets import co2, sunspots

    months, years = pd.Timestamp("1949-01"), pd.Timestamp("1821-01")
    series = {
        "airline": (np.ravel(load_airline()), pd.date_range(months, periods=144, freq="MS"), 12),
        "lynx": (np.ravel(load_lynx()), pd.date_range(years, periods=114, freq="YS"), 10),
        "shampoo": (np.ravel(load_shampoo_sales()), pd.date_range("2001-01", periods=36, freq="MS"), 3),
    }
    spots = sunspots.load_pandas().data
    series["sunspots"] = (
        spots["SUNACTIVITY"].to_numpy(),
        pd.to_datetime(spots["YEAR"].astype(int).astype(str)),
        11,
    )
    weekly = co2.load_pandas().data["co2"].resample("MS").mean()
    series["co2"] = (weekly.to_numpy(), weekly.index, 12)
    cases = []
    for name, (values, dates, horizon) in series.items():
        frame = pd.DataFrame({"date": pd.DatetimeIndex(dates).strftime("%Y-%m-%d"), "value": values})
        frame.to_csv(folder / f"{name}.csv", index=False)
        cases.append(
            {
                "data": f"{name}.csv",
                "name": name,
                "target": "value",
                "options": {"horizon": horizon},
                "budget": "2m",
            }
        )
    return cases


def others(folder: Path) -> list[Case]:
    """Write handwritten digits as images, and two tables of rows."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

    digits = load_digits()
    pixels = (digits.images * 255 / 16).round().astype(np.uint8)[..., None]
    np.savez_compressed(folder / "digits.npz", x=pixels, y=digits.target)
    load_breast_cancer(as_frame=True).frame.to_csv(folder / "breast_cancer.csv", index=False)
    load_diabetes(as_frame=True, scaled=False).frame.to_csv(folder / "diabetes.csv", index=False)
    return [
        {"data": "digits.npz", "name": "digits, images", "budget": "5m"},
        {"data": "breast_cancer.csv", "name": "breast cancer, rows", "target": "target", "budget": "3m"},
        {"data": "diabetes.csv", "name": "diabetes, rows", "target": "target", "budget": "3m"},
    ]


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    cases = [*(classified(out, name) for name in CLASSIFIED), *forecast(out), *others(out)]
    (out / "cases.yaml").write_text(yaml.safe_dump(cases, sort_keys=False), encoding="utf-8")
    print(f"{len(cases)} cases in {out}")
