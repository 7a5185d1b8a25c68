"""Data of every kind obeys the laws over tasks, with nothing fitted to its test part."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anyformer.laws.tasks import TaskCase
from anyformer.laws.tasks.run import run_task_laws
from anyformer.tasks import create_task, list_tasks, open_data

DATA = Path(__file__).parents[2] / "examples" / "data"
EXAMPLES: dict[str, dict[str, Any]] = {
    "river.csv": {"target": "level_m"},
    "sales.csv": {
        **{"target": "sold", "group": ["shop", "item"], "known": ["promo", "price"], "calendar": True},
        "quantiles": [0.1, 0.5, 0.9],
    },
    "gestures.csv": {"target": "gesture"},
    "tales": {},
    "loans.csv": {"target": "book", "kind": "next", "group": "reader"},
    "strokes": {},
    "notices.jsonl": {"target": "topics"},
    "words.tsv": {"target": "latin", "kind": "translate", "text": "cyrillic"},
    "diary.conll": {},
    "molecules.jsonl": {"target": "carbonyl"},
    "friends": {"target": "hears"},
}


def bad(case: TaskCase, law: str | None = None) -> list[str]:
    results = run_task_laws(case, law and [law])
    assert not law or results[0].outcome != "does not apply"
    return [f"{r.law} ({r.outcome}): {r.detail}" for r in results if not r.good]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples(name: str, tmp_path: Path) -> None:
    path = DATA / name
    if name == "words.tsv":  # each is written letter by letter
        path = tmp_path / name
        path.write_text(
            "".join((DATA / name).read_text(encoding="utf-8").splitlines(True)[:120]), encoding="utf-8"
        )
    assert not bad(TaskCase(name, partial(open_data, path, **EXAMPLES[name]), path))


def test_columns_of_their_own() -> None:
    path = DATA / "gestures.csv"
    case = partial(open_data, path, "gesture", ordered=False)
    assert not bad(TaskCase("gestures.csv", case, path))


@pytest.mark.parametrize("name", list_tasks())
def test_generated_tasks(name: str) -> None:
    assert not bad(TaskCase(name, partial(create_task, name)))


def changed(values: pd.Series, rows: Any) -> pd.Series:
    """Return a column with other numbers, or words that stand nowhere else, in these rows."""
    other = values.astype(object)
    other[rows] = (
        values[rows] * 7 + 1000 if values.dtype.kind in "if" else values[rows].map("never {}".format)
    )
    return other.infer_objects()


def backwards(values: pd.Series, rows: Any) -> pd.Series:
    """Return a column of texts that are read backwards in these rows: they have the same lengths."""
    return values.where(~rows, values.str[::-1])


def both(
    folder: Path, frame: pd.DataFrame, rows: Any, columns: list[str], change: Any = changed, **options: Any
) -> TaskCase:
    """Return the case of a table beside one with other values of some columns in the rows of its test part."""
    other = frame.assign(**{name: change(frame[name], rows) for name in columns})
    paths = [folder / "table.csv", folder / "other.csv"]
    for path, one in zip(paths, (frame, other)):
        one.to_csv(path, index=False)
    make, again = (partial(open_data, path, **options) for path in paths)
    return TaskCase("data:table", make, paths[0], again)


class TestNothingIsFittedToTheTestPart:
    random = np.random.default_rng(0)

    def parts(self, count: int) -> np.ndarray:
        return np.resize(np.array(["train", "train", "valid", "test", "train"]), count)

    def test_rows(self, tmp_path: Path) -> None:
        frame = pd.read_csv(DATA / "gestures.csv").assign(part=self.parts(600))
        frame["place"] = self.random.choice(["in", "out", "under"], 600)
        rows = frame["part"] == "test"
        case = both(tmp_path, frame, rows, ["t0", "t7", "place"], target="gesture", split="part")
        assert not bad(case, "training part")

    def test_numbers_asked_of_rows(self, tmp_path: Path) -> None:
        frame = pd.read_csv(DATA / "gestures.csv").assign(part=self.parts(600))
        rows = frame["part"] == "test"
        case = both(tmp_path, frame, rows, ["t0", "t11"], target="t11", split="part", kind="regress")
        assert not bad(case, "training part")

    def test_groups(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"id": np.repeat(np.arange(100), 6), "part": np.repeat(self.parts(100), 6)})
        frame["label"] = np.where(frame["id"] % 3, "odd", "even")
        frame["amount"] = self.random.standard_normal(600).round(3)
        frame["page"] = self.random.choice(["home", "list", "item"], 600)
        rows = frame["part"] == "test"
        case = both(tmp_path, frame, rows, ["amount", "page"], target="label", group="id", split="part")
        assert not bad(case, "training part")

    def test_texts(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"text": [f"{'good' if i % 2 else 'bad'} one {i}" for i in range(100)]})
        frame["mood"], frame["part"] = np.where(np.arange(100) % 2, "up", "down"), self.parts(100)
        rows = frame["part"] == "test"
        case = both(tmp_path, frame, rows, ["text"], backwards, target="mood", text="text", split="part")
        assert not bad(case, "training part")

    def test_forecasts(self, tmp_path: Path) -> None:
        frame = pd.read_csv(DATA / "river.csv")
        rows = frame.index >= len(frame) - 3
        assert not bad(both(tmp_path, frame, rows, ["level_m"], target="level_m"), "training part")

    def test_forecasts_of_several_series(self, tmp_path: Path) -> None:
        frame, names = pd.read_csv(DATA / "sales.csv"), ["sold", "promo", "price"]
        rows = frame["sold"].notna() & (frame["day"] >= frame.loc[frame["sold"].notna(), "day"].max())
        options = {**EXAMPLES["sales.csv"], "quantiles": None, "calendar": None}
        assert not bad(both(tmp_path, frame, rows, names, **options), "training part")

    def test_next_items(self, tmp_path: Path) -> None:
        frame = pd.read_csv(DATA / "loans.csv")
        rows = frame["date"] >= np.sort(frame["date"])[int(0.97 * len(frame))]
        case = both(tmp_path, frame, rows, ["book"], **EXAMPLES["loans.csv"])
        assert not bad(case, "training part")

    def test_pairs(self, tmp_path: Path) -> None:
        frame = pd.read_csv(DATA / "words.tsv", sep="\t")
        frame["part"], names = self.parts(len(frame)), ["latin", "cyrillic"]
        rows = frame["part"] == "test"
        case = both(tmp_path, frame, rows, names, backwards, **EXAMPLES["words.tsv"], split="part")
        assert not bad(case, "training part")
