"""Columns of categories are inputs: of events in groups, and of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.models import load_spec
from anyformer.tables.files import read_table
from anyformer.tables.numbercells import Convention
from anyformer.tasks import DataError, categories, open_data
from anyformer.tasks.categories import FIRST, MISSING, OTHER, Category
from anyformer.tasks.categorycolumns import texts_of
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.references import score_reference
from anyformer.train import TrainConfig, Trainer, load_bundle, model_for, save_bundle


def events(count: int = 600, *, seed: int = 0) -> pd.DataFrame:
    """A visit is bought from where ``view`` is followed by ``cart`` at once, which chance does not make."""
    rng = np.random.default_rng(seed)
    rows = []
    for visit in range(count):
        kinds = rng.choice(["view", "cart", "help", "home", "like", "back"], rng.integers(5, 12)).tolist()
        for t in range(len(kinds) - 1):
            if kinds[t : t + 2] == ["view", "cart"]:
                kinds[t + 1] = "home"
        if bought := bool(rng.integers(2)):
            t = int(rng.integers(len(kinds) - 1))
            kinds[t : t + 2] = ["view", "cart"]
        rows += [(f"v{visit:04}", kind, rng.normal(), "yes" if bought else "no") for kind in kinds]
    return pd.DataFrame(rows, columns=["visit", "kind", "seconds", "bought"])


def people(count: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "city": rng.choice(["Rome", "Oslo", "Lima", "Cairo"], count),
            "plan": rng.choice(["free", "pro"], count),
            "age": rng.integers(18, 90, count),
            "zip": rng.choice([10115, 20095, 80331], count),
        }
    )
    frame["left"] = np.where(frame.city.isin(["Rome", "Lima"]) ^ (frame.plan == "pro"), "yes", "no")
    return frame


def opened(folder: Path, frame: pd.DataFrame, target: str | list[str], **options: Any) -> LabelledTask:
    frame.to_csv(folder / "data.csv", index=False)
    task = open_data(folder / "data.csv", target, **options)
    assert isinstance(task, LabelledTask)
    return task


def trained(task: LabelledTask, model: str, steps: int) -> Trainer:
    spec = load_spec(f"{model} dim=32 depth=2")
    trainer = Trainer(model_for(task, spec), task, TrainConfig(steps=steps, learning_rate=5e-3), device="cpu")
    trainer.run()
    return trainer


class TestCategory:
    def test_codes(self) -> None:
        texts = np.array(["b", "a", None, "b", "a", "b", "once"], object)
        category = Category.fit("kind", texts)
        assert category.values == ["b", "a"] and category.size == 4
        assert category.encode(texts).tolist() == [FIRST, FIRST + 1, MISSING, FIRST, FIRST + 1, FIRST, OTHER]
        assert category.encode(np.array([["new", None]], object)).tolist() == [[OTHER, MISSING]]
        assert category.unknown(np.array(["a", "x", None, "w"], object)) == ["w", "x"]

    def test_what_is_beyond_the_most_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(categories, "MOST", 2)
        texts = np.array(list("aaabbcc"), object)
        remarks: list[str] = []
        categories.describe_categories([Category.fit("kind", texts)], {"kind": texts}, remarks)
        assert "2 values; 1 more" in remarks[0] and "beyond the 2 most frequent" in remarks[0]

    def test_only_the_train_split_is_looked_at(self, tmp_path: Path) -> None:
        frame = people()
        task = opened(tmp_path, frame, "left")
        held_out = np.concatenate([task._index["valid"], task._index["test"]])
        frame.loc[held_out, "city"] = [f"far{i % 3}" for i in range(len(held_out))]
        again = opened(tmp_path, frame, "left")
        known = next(c for c in again.encoding.categories if c.name == "city")  # type: ignore[union-attr]
        train = set(frame.city[again._index["train"]].value_counts().loc[lambda n: n > 1].index)
        assert set(known.values) == train


class TestEvents:
    def test_what_is_read_is_said(self, tmp_path: Path) -> None:
        task = opened(tmp_path, events(), "bought", group="visit")
        assert task.describe()["columns"] == ["seconds", "kind"]
        assert "'kind' is read as a category of 6 values" in task.notes()
        batch = task.train_batch(0, 4)
        assert isinstance(batch.inputs, dict) and batch.inputs["kind"].shape == batch.mask.shape  # type: ignore[union-attr]

    @pytest.mark.parametrize("model", ["mamba", "transformer"])
    def test_two_consecutive_kinds_decide(self, tmp_path: Path, model: str) -> None:
        task = opened(tmp_path, events(1200), "bought", group="visit")
        task.rank_by("auc")
        assert trained(task, model, 150).evaluate("test").value > 0.97

    def test_a_category_may_be_called_like_our_own_field(self, tmp_path: Path) -> None:
        task = opened(tmp_path, events().rename(columns={"kind": "(numbers)"}), "bought", group="visit")
        assert task.stream is not None and task.stream.names == ["((numbers))", "(numbers)"]

    def test_without_numbers(self, tmp_path: Path) -> None:
        task = opened(tmp_path, events().drop(columns="seconds"), "bought", group="visit")
        assert task.stream is not None and task.stream.names == ["kind"]
        constant, linear, _ = (reference.fit(task) for reference in task.references())
        assert score_reference(linear, task) > score_reference(constant, task)

    def test_predictions_are_of_new_files_and_unknown_kinds_are_said(self, tmp_path: Path) -> None:
        task = opened(tmp_path, events(), "bought", group="visit")
        trainer = trained(task, "mamba", 3)
        save_bundle(tmp_path / "model", trainer.model, task)
        new = events(30, seed=5).drop(columns="bought")
        new.loc[3, "kind"] = "teleport"
        new[["kind", "seconds", "visit"]].to_csv(tmp_path / "new.csv", index=False)
        said = load_bundle(tmp_path / "model").predict(tmp_path / "new.csv")
        assert said.table["visit"].tolist() == sorted(new.visit.unique())
        assert any("'kind'" in remark and "'teleport'" in remark for remark in said.remarks)
        facts = json.loads((tmp_path / "model" / "task.json").read_text(encoding="utf-8"))
        assert facts["inputs"] == "fields"
        new.drop(columns="kind").to_csv(tmp_path / "new.csv", index=False)
        with pytest.raises(DataError, match="no column 'kind'"):
            load_bundle(tmp_path / "model").predict(tmp_path / "new.csv")

    def test_the_same_rows_are_predicted_as_in_training(self, tmp_path: Path) -> None:
        frame = events()
        frame.loc[::17, "kind"] = None
        frame.loc[::13, "seconds"] = None
        task = opened(tmp_path, frame, "bought", group="visit")
        trainer = trained(task, "mamba", 3)
        save_bundle(tmp_path / "model", trainer.model, task)
        said = load_bundle(tmp_path / "model").predict(tmp_path / "data.csv").table.set_index("visit")
        (batch,) = task.eval_batches("test", 1000)
        rows = pd.unique(frame.visit)[task._index["test"]]
        with torch.no_grad():
            shares = trainer.model.eval()(batch.inputs, batch.mask).softmax(-1)
        np.testing.assert_allclose(said.loc[rows, "p(yes)"], shares[:, 1], atol=1e-5)


class TestGroupsThatAreNotNamed:
    """Rows of one group in train and test would give their label away by its name."""

    @pytest.mark.parametrize("rows", [3, 8])
    def test_their_names_are_no_category(self, tmp_path: Path, rows: int) -> None:
        rng = np.random.default_rng(0)
        visit = np.repeat(np.arange(100), rows)
        frame = pd.DataFrame({"visit": [f"v{i}" for i in visit], "x": rng.normal(size=len(visit))})
        frame["bought"] = np.where(rng.integers(2, size=100), "yes", "no")[visit]
        frame = frame.sample(frac=1, random_state=0)
        task = opened(tmp_path, frame, "bought")
        assert task.describe()["columns"] == ["x"]
        (note,) = [note for note in task.notes() if "one label each" in note]
        assert "group='visit' reads each as one sequence" in note
        assert opened(tmp_path, frame, "bought", group="visit").size("train") < 100
        assert opened(tmp_path, frame, "bought", category="visit").describe()["columns"] == ["x", "visit"]

    @pytest.mark.parametrize("names", ["{:05d}", "{}", "n{}"])
    def test_they_may_be_numbers(self, tmp_path: Path, names: str) -> None:
        rng = np.random.default_rng(0)
        group, labels = np.repeat(rng.permutation(9000)[:50] + 1000, 8), rng.integers(2, size=50)
        frame = pd.DataFrame({"owner": [names.format(n) for n in group], "x": rng.normal(size=400)})
        frame["sold"] = np.where(np.repeat(labels, 8), "yes", "no")
        frame = frame.sample(frac=1, random_state=0)
        assert opened(tmp_path, frame, "sold").describe()["columns"] == ["x"]

    def test_what_is_told_of_a_group_is_an_input(self, tmp_path: Path) -> None:
        frame = events(200)
        income = np.random.default_rng(0).permutation(9000)[:200] + 1000
        frame["income"] = income[pd.factorize(frame.visit)[0]]
        assert "income" in opened(tmp_path, frame, "bought", group="visit").describe()["columns"]

    def test_a_number_that_tells_the_label_stays_an_input(self, tmp_path: Path) -> None:
        frame = people().assign(left=lambda t: np.where(t.age > 47, "yes", "no"))
        assert "age" in opened(tmp_path, frame, "left").describe()["columns"]

    def test_any_target_counts(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {"owner": [f"n{n}" for n in np.repeat(np.arange(50), 8)], "x": rng.normal(size=400)}
        )
        frame["once"], frame["free"] = np.repeat(rng.normal(size=50), 8), rng.normal(size=400)
        for targets in (["once", "free"], ["free", "once"]):
            assert opened(tmp_path, frame, targets, kind="regress").describe()["columns"] == ["x"]

    def test_a_forecast_of_labels_names_them(self, tmp_path: Path) -> None:
        frame = events(60).assign(
            day=pd.date_range("2024-01-01", periods=len(events(60)), freq="h").astype(str)
        )
        with pytest.raises(
            DataError, match="give kind='classify' to classify rows, or group='visit' to classify"
        ):
            opened(tmp_path, frame, "bought")

    def test_a_category_that_tells_the_label_stays_one(self, tmp_path: Path) -> None:
        frame = people().assign(left=lambda t: np.where(t.city == "Rome", "yes", "no"))
        assert "city" in opened(tmp_path, frame, "left").describe()["columns"]


class TestRows:
    def test_fields_are_tokens(self, tmp_path: Path) -> None:
        task = opened(tmp_path, people(), "left")
        assert task.stream is not None and task.stream.shape == "record"
        assert task.stream.names == ["age", "zip", "city", "plan"] and task.train_length == 4

    def test_what_no_sum_of_columns_tells(self, tmp_path: Path) -> None:
        task = opened(tmp_path, people(1000), "left")
        reference = next(r for r in task.references() if r.name == "linear").fit(task)
        assert score_reference(reference, task) < 0.7
        assert trained(task, "transformer", 120).evaluate("test").value > 0.95

    def test_codes_with_zeros_in_front_are_pointed_out(self, tmp_path: Path) -> None:
        frame = people().assign(zip=lambda t: ["0" + str(z) for z in t.zip])
        notes = opened(tmp_path, frame, "left").notes()
        assert any(
            "'zip' has numbers that begin with zeros" in note and "category='zip'" in note for note in notes
        )
        named = opened(tmp_path, frame, "left", category="zip")
        assert not any("begin with zeros" in note for note in named.notes())

    def test_a_text_may_be_a_category(self, tmp_path: Path) -> None:
        frame = people().assign(text=[f"hello {i % 200} there" for i in range(600)])
        task = opened(tmp_path, frame, "left", category="text")
        assert "text" in task.describe()["columns"]
        for options in ({"category": "city"}, {"text": "text", "category": "city"}):
            with pytest.raises(
                ValueError, match="category does not apply to rows that are read as the text of 'text'"
            ):
                opened(tmp_path, frame, "left", **options)

    def test_numbers_as_categories(self, tmp_path: Path) -> None:
        task = opened(tmp_path, people(), "left", category="zip")
        assert task.stream is not None and task.stream.names == ["age", "zip", "city", "plan"]
        assert task.stream.fields[1].size == FIRST + 3

    def test_a_code_is_the_same_in_every_file(self, tmp_path: Path) -> None:
        """Whether others of its column are numbers, or missing, changes nothing."""
        codes = ["07", "7", "7.0", "A1", None]
        frame = pd.DataFrame(
            {"code": codes * 40, "x": np.arange(200.0) ** 2 % 17, "left": ["yes", "no"] * 100}
        )
        task = opened(tmp_path, frame, "left", category="code")
        assert task.encoding is not None
        (category,) = task.encoding.categories
        assert set(category.values) == {"07", "7", "A1"}
        for kept in (["07"], ["7"], ["7.0"], ["07", "7.0"], ["7", None], ["A1", "7"]):
            path = tmp_path / "new.csv"
            pd.DataFrame({"code": kept, "x": 1.5}).to_csv(path, index=False)
            texts = texts_of(read_table(path, Convention()), "code")
            assert texts.tolist() == [{"7.0": "7"}.get(code, code) for code in kept if code] + [
                None
            ] * kept.count(None)
        typed = pd.DataFrame({"code": [7, 7.0, np.nan], "x": 1.5})
        typed.to_parquet(tmp_path / "new.parquet")
        assert texts_of(read_table(tmp_path / "new.parquet", Convention()), "code").tolist() == [
            "7",
            "7",
            None,
        ]

    def test_written_differently_is_the_same(self, tmp_path: Path) -> None:
        frame = people()
        frame["zip"] = [f"{zip}.0" if i % 2 else str(zip) for i, zip in enumerate(frame.zip)]
        task = opened(tmp_path, frame, "left", category=["zip"])
        assert task.stream is not None and task.stream.fields[1].size == FIRST + 3

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"category": "left"}, "category: column 'left' of .* is no input, but a target, group or date"),
            ({"category": "age", "keep": "age"}, "column 'age' of .* is also named by keep"),
            ({"category": "nowhere"}, "no column 'nowhere'"),
            ({"keep": "left"}, "keep: column 'left' of .* is no input, but a target, group or date"),
            ({"keep": "city"}, "keep: column 'city' of .* holds no numbers"),
            ({"category": "empty"}, "column 'empty' of .* is without any value"),
            ({"category": "number"}, "no value of 'number' is there twice in the training rows"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            opened(tmp_path, people().assign(empty=None, number=np.arange(600.0)), "left", **options)

    def test_one_value_or_none_is_a_category_and_one_value_alone_is_left_out(self, tmp_path: Path) -> None:
        frame = people().assign(
            coupon=lambda rows: rows.age.gt(40).map({True: "used", False: None}), land="here", tax=0.19
        )
        task = opened(tmp_path, frame, "left")
        assert task.stream is not None and {"coupon", "tax"} <= set(task.stream.names)
        assert "left out: 'land', the same in all rows" in task.notes()
        assert "the same in all rows, and so telling nothing: 'tax'" in task.notes()

    def test_a_forecast_takes_them_too(self, tmp_path: Path) -> None:
        frame = people().assign(day=pd.date_range("2020-01-01", periods=600).strftime("%Y-%m-%d"))
        frame.to_csv(tmp_path / "data.csv", index=False)
        task = open_data(tmp_path / "data.csv", "age")
        assert task.stream is not None and {"city", "plan", "left"} <= set(task.stream.names)


def test_texts_and_categories_are_the_same() -> None:
    texts = np.array(["a", None, "b", "a", "c", "b", "b", "unused"], dtype=object)
    held = pd.Categorical(texts)[:-1]
    texts = texts[:-1]
    category = Category.fit("x", texts)
    assert Category.fit("x", held) == category and category.values == ["b", "a"]
    assert (
        category.encode(held).tolist() == category.encode(texts).tolist() == [3, MISSING, 2, 3, OTHER, 2, 2]
    )
    assert category.unknown(held) == category.unknown(texts) == ["c"]
    assert category.encode(texts.reshape(7, 1)).shape == (7, 1)
