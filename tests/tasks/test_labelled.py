from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.objectives import Classify
from anyformer.tasks import DataError, create_task, open_data, score_reference
from anyformer.tasks.base import SPLITS
from anyformer.tasks.batch import Batch
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.splits import split_alike


def table(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, 4))
    kind = np.where(values[:, 0] + values[:, 1] > 0, "high", "low")
    return pd.DataFrame(
        {**{f"x{i}": values[:, i] for i in range(4)}, "kind": kind, "sum": 50 + 9 * values.sum(1)}
    )


def saved(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def opened(path: Path, target: Any = None, **options: Any) -> LabelledTask:
    task = open_data(path, target, **options)
    assert isinstance(task, LabelledTask)
    return task


def scores(task: LabelledTask) -> dict[str, float]:
    return {one.name: score_reference(one.fit(task), task) for one in task.references()}


def side_by_side(batch: Batch) -> torch.Tensor:
    """The numbers of records (B, F)."""
    assert not isinstance(batch.inputs, torch.Tensor)
    return torch.cat(list(batch.inputs.values()), -1)


class TestRows:
    def test_strings_are_classes_and_a_row_is_a_record(self, tmp_path: Path) -> None:
        task = opened(saved(tmp_path, table().drop(columns="sum")), "kind")
        assert task.stream is not None and task.stream.shape == "record"
        assert task.stream.names == ["x0", "x1", "x2", "x3"] and task.classes == ["high", "low"]
        assert task.notes() == ["target 'kind' has 2 different values: classification"]
        found = scores(task)
        assert found["linear"] > 0.9 > 0.7 > found["majority"]

    def test_numbers_are_regressed_in_their_own_units(self, tmp_path: Path) -> None:
        task = opened(saved(tmp_path, table().drop(columns="kind")), "sum")
        assert task.metric.name == "MAE" and task.metric.unit == "sum"
        assert "target 'sum' is numeric with 200 different values: regression" in task.notes()
        found = scores(task)
        assert found["linear"] < 1 < 5 < found["median"] < 30
        batch = next(task.eval_batches("test", 9))
        assert task.metric.measure(batch.targets, batch.target).tolist() == [[0, 1]] * 9
        rows = task._index["test"][:9]
        assert batch.in_units(batch.targets)[:, 0] == pytest.approx(table()["sum"].to_numpy()[rows], rel=1e-5)

    @pytest.mark.parametrize(
        "values, kind",
        [
            ([0, 1], "classification"),
            ([True, False], "classification"),
            ([1, 2, 3, 4, 5], "classification"),
            ([1.5, 2.5], "regression"),
            (list(range(100)), "regression"),
        ],
    )
    def test_the_kind_is_decided_from_the_target(self, tmp_path: Path, values: list[Any], kind: str) -> None:
        frame = table().drop(columns=["kind", "sum"])
        frame["target"] = (values * 200)[:200]
        assert opened(saved(tmp_path, frame)).notes()[-1].endswith(kind)
        forced = opened(saved(tmp_path, frame), "target", kind="regress")
        assert forced.classes is None

    def test_missing_values_are_counted_by_column_and_marked(self, tmp_path: Path) -> None:
        frame = table()
        frame.loc[[1, 2, 3], "x1"] = np.nan
        frame.loc[7, "x3"] = np.inf
        frame.loc[9, "kind"] = np.nan
        task = opened(saved(tmp_path, frame), "kind")
        assert task.stream is not None and {field.width for field in task.stream.fields} == {2}
        assert task.size("train") + task.size("valid") + task.size("test") == 199
        assert any(
            "4 of 995 values are missing (0.4 %), in 'x1' (3), 'x3' (1)" in note for note in task.notes()
        )
        assert "1 of 200 rows have no target and are left out" in task.notes()
        assert all(side_by_side(batch).isfinite().all() for batch in task.eval_batches("train", 32))

    def test_statistics_come_from_the_train_split(self, tmp_path: Path) -> None:
        task = opened(saved(tmp_path, table()), "kind")
        x = torch.cat([side_by_side(batch) for batch in task.eval_batches("train", 64)]).double()
        assert x.mean(0).abs().max() < 1e-6 and (x.std(0, unbiased=False) - 1).abs().max() < 1e-6
        test = torch.cat([side_by_side(batch) for batch in task.eval_batches("test", 64)]).double()
        assert test.mean(0).abs().max() > 1e-3


class TestSplits:
    def test_equal_rows_share_a_split_and_classes_keep_their_shares(self, tmp_path: Path) -> None:
        frame = pd.concat([table(), table()])
        task = opened(saved(tmp_path, frame), "kind")
        rows = {
            split: {bytes(x.numpy()) for batch in task.eval_batches(split, 64) for x in side_by_side(batch)}
            for split in SPLITS
        }
        assert not rows["train"] & rows["test"] and not rows["train"] & rows["valid"]
        assert not rows["valid"] & rows["test"]
        share = {
            s: float(torch.cat([b.targets for b in task.eval_batches(s, 64)]).float().mean()) for s in SPLITS
        }
        assert max(share.values()) - min(share.values()) < 0.03

    def test_the_seed_moves_the_split_and_nothing_else_does(self) -> None:
        x, y = np.arange(300).reshape(100, 3), np.arange(100) % 4
        one, again, other = (split_alike([x], None, y, seed) for seed in (1, 1, 2))
        for split in SPLITS:
            assert (one[split] == again[split]).all()
        assert set(one["test"]) != set(other["test"])
        assert sorted(np.concatenate(list(one.values()))) == list(range(100))


CSV_FAULTS = [
    (b"", "is empty"),
    (b"  \n", "is empty"),
    (b"a,b,c\n", "has a line of column names and no rows"),
    (b"1.0,2.0\n3.0,4.0\n", "the first line must name the columns, got '1.0,2.0'"),
    (b"a,b\n1,2,3\n", "line 2 has 3 fields, but the first line names 2 columns"),
    (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 fields, but the first line names 2 columns"),
    (b"a,b\n1,\xe9\n", r"byte 6 \(0xe9\) is not UTF-8 text; save the file as UTF-8"),
    (
        b"a," + b"9" * 2_000_000,
        "line 1 is 2,000,002 bytes long, all in one line; a table needs one line a row",
    ),
    (b"a,kind\n" + b"1,u\n2,v\n" * 5, "10 labelled sequences are too few; at least 20 are needed"),
    (b"a,kind\n" + b"1,u\n2,u\n" * 20, "the target has only one value, 'u': nothing to learn"),
    (b"a,kind\n" + b"1,u\n2,v\n" * 20, "only 2 different samples: too few for train, validation and test"),
    (b"name,kind\n" + b"ab,u\ncd,v\n" * 20, "only 2 different samples: too few"),
    (b"day,kind\n" + b"2020-01-03,u\n2020-01-04,v\n" * 20, "has no numeric column besides the target"),
    (
        b"a,kind\n" + b"".join(b"%d,n%d\n" % (i, i) for i in range(40)),
        "has 40 different values in 40 rows; a class",
    ),
]


@pytest.mark.parametrize("data, message", CSV_FAULTS)
def test_wrong_tables_get_one_clear_message(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "bad.csv").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        create_task(tmp_path / "bad.csv", target="kind")
    assert "\n" not in str(caught.value) and str(caught.value).count("bad") == 1


def test_the_index_that_pandas_writes_is_no_feature(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "a.csv")
    task = opened(tmp_path / "a.csv", "kind")
    assert (
        task.train_length == 5
        and "left out: 'Unnamed: 0', numbers of rows; keep='Unnamed: 0' takes it for an input" in task.notes()
    )


def test_lists_and_objects_are_no_values(tmp_path: Path) -> None:
    for label, options in (({"x": 1}, {}), ([1, 2], {"target": "label", "kind": "classify"})):
        lines = [json.dumps({"text": f"number {i} of many", "label": label}) for i in range(40)]
        (tmp_path / "a.jsonl").write_text("\n".join(lines))
        with pytest.raises(
            DataError, match="column 'label' holds lists or objects; a single value a row is needed"
        ):
            create_task(tmp_path / "a.jsonl", **options)


def test_labels_that_read_as_missing_are_pointed_out(tmp_path: Path) -> None:
    path = saved(tmp_path, pd.DataFrame({"a": range(60), "kind": ["None", "yes"] * 30}))
    with pytest.raises(
        DataError, match="only one value, 'yes': nothing to learn; 30 of 60 rows have no target"
    ):
        create_task(path, target="kind")


def test_rare_classes_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, pd.DataFrame({"a": np.arange(60) ** 2, "kind": ["u"] * 30 + ["v"] * 29 + ["w"]}))
    assert "fewer than 3 rows have the class 'w'" in opened(path, "kind").notes()


@pytest.mark.parametrize(("rare", "said"), [(11, False), (9, True)])
def test_a_class_that_most_rows_have_is_said(tmp_path: Path, rare: int, said: bool) -> None:
    x = np.random.default_rng(0).standard_normal(50)
    frame = pd.DataFrame({"x": x, "y": np.where(np.arange(50) < rare, "rare", "usual")})
    notes = " ".join(opened(saved(tmp_path, frame), "y").notes())
    told = (
        "82.0 % of the rows have the class 'usual', so that always telling it is as often right; "
        "metric='balanced_accuracy' or metric='f1' or metric='average_precision' or metric='auc' gives all classes"
    )
    assert (told in notes) == said
    assert opened(tmp_path / "data.csv", "y", metric="average_precision").metric.name == "average precision"


def test_wrong_columns(tmp_path: Path) -> None:
    path = saved(tmp_path, table())
    with pytest.raises(DataError, match=r"target: .*data\.csv has no column 'knid'; did you mean 'kind'\?"):
        create_task(path, target="knid")
    with pytest.raises(DataError, match=r"target must name the column to predict, one of 'x0', 'x1'"):
        create_task(path)
    with pytest.raises(
        ValueError,
        match="kind must be one of 'forecast', 'classify', 'regress', 'labels', 'next', 'translate', got 'guess'",
    ):
        create_task(path, target="kind", kind="guess")
    with pytest.raises(
        DataError, match=r"column 'kind' of .* is not numeric \(it holds '\w+'\); regression needs numbers"
    ):
        create_task(path, target="kind", kind="regress")


def test_a_test_split_of_one_class_is_named(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(60)
    frame = pd.DataFrame({"x": x, "y": np.where(np.arange(60) % 20 == 0, "rare", "usual")})
    notes = " ".join(opened(saved(tmp_path, frame), "y").notes())
    assert "all 9 test rows have the class 'usual'" in notes


def test_what_was_left_out_is_said_where_too_little_is_left(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": range(100, 160), "x": [1.5] * 60, "y": ["a", "b"] * 30})
    with pytest.raises(DataError, match="only 1 different samples: .*left out: 'id'"):
        open_data(saved(tmp_path, frame), "y")


def test_a_column_alone_may_be_forecast(tmp_path: Path) -> None:
    frame = pd.DataFrame({"v": np.random.default_rng(0).normal(size=90)})
    with pytest.raises(DataError, match="no numeric column besides the target; kind='forecast' forecasts"):
        open_data(saved(tmp_path, frame), "v")
    assert open_data(tmp_path / "data.csv", "v", kind="forecast").metric.name.startswith("MAE")


def test_classes_of_equal_weight(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "y": np.where(np.arange(200) < 20, "rare", "usual")})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    path = tmp_path / "rows.csv"
    usual, weighed = open_data(path, "y"), open_data(path, "y", class_weights="balanced")
    assert isinstance(weighed.objective, Classify) and weighed.objective.weights == pytest.approx(
        (5, 5 / 9), rel=0.05
    )
    outputs, targets = torch.zeros(4, 2), torch.tensor([0, 1, 1, 1])
    outputs[:, 1] = 2.0
    each = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
    w = torch.tensor(weighed.objective.weights)[targets]
    assert torch.allclose(weighed.objective.loss(outputs, targets), (each * w).sum() / w.sum())
    assert torch.equal(usual.objective.loss(outputs, targets), each.mean())
    assert any("weight inverse to its frequency" in note for note in weighed.notes())
    with pytest.raises(ValueError, match="class_weights does not apply to numbers"):
        open_data(path, "a", kind="regress", class_weights="balanced")
    with pytest.raises(ValueError, match="class_weights must be 'balanced', got 'blanced'"):
        open_data(path, "y", class_weights="blanced")


def test_samples_of_one_group_are_in_one_split_and_one_cluster() -> None:
    draw = np.random.default_rng(0)
    x, people = draw.normal(size=(300, 4, 1)), np.arange(300) % 60
    task = LabelledTask(x, np.arange(300) % 2, name="drawn", classes=["no", "yes"], groups=people)
    found = {split: people[task._index[split]] for split in SPLITS}
    assert not set(found["train"]) & {*found["valid"], *found["test"]}
    for split, held in found.items():
        clusters = task.clusters(split)
        assert len(np.unique(clusters)) == len(np.unique(held)) == len({*zip(clusters, held)})
