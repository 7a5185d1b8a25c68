"""Targets: what makes a class, and what counts as missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_columns import series

from anyformer.tasks import DataError, open_data
from anyformer.tasks.labelled import LabelledTask


class TestLabels:
    def of(self, path: Path, *labels: str, **options: Any) -> LabelledTask:
        rows = "".join(f"{i * i % 101},{labels[i % len(labels)]}\n" for i in range(90))
        (path / "data.csv").write_text("a,label\n" + rows)
        task = open_data(path / "data.csv", "label", **options)
        assert isinstance(task, LabelledTask)
        return task

    def test_equal_numbers_are_one_class(self, tmp_path: Path) -> None:
        task = self.of(tmp_path, "1", "1.0", "2")
        assert task.classes == ["1", "2"] and "'1' and '1.0' of 'label' are one class: 1" in task.notes()
        lines = [
            f'{{"a": {i * i % 101}, "label": {("1", chr(34) + "1" + chr(34), "2.0")[i % 3]}}}'
            for i in range(90)
        ]
        (tmp_path / "data.jsonl").write_text("\n".join(lines))
        assert open_data(tmp_path / "data.jsonl").classes == ["1", "2.0"]  # type: ignore[attr-defined]

    def test_classes_are_called_as_they_are_written(self, tmp_path: Path) -> None:
        assert self.of(tmp_path, "01", "02", "10").classes == ["01", "02", "10"]
        assert self.of(tmp_path, "true", "false").classes == ["false", "true"]
        assert (
            "classes 'Ja' and 'ja' of 'label' differ in case alone"
            in self.of(tmp_path, "Ja", "ja").notes()[0]
        )

    @pytest.mark.parametrize("mark", ["NA", "None", "null", "nan"])
    @pytest.mark.parametrize("others", [("yes", "no"), ("0", "1")])
    def test_marks_of_missing_values_are_classes_where_asked(
        self, tmp_path: Path, mark: str, others: tuple[str, str]
    ) -> None:
        task = self.of(tmp_path, mark, *others)
        assert task.classes is not None and mark not in task.classes
        assert any("30 of 90 rows have no target" in note and repr(mark) in note for note in task.notes())
        asked = self.of(tmp_path, mark, *others, missing="")
        assert asked.classes is not None and mark in asked.classes and len(asked.classes) == 3

    def test_other_marks_may_be_named(self, tmp_path: Path) -> None:
        assert self.of(tmp_path, "yes", "no", "unknown", missing="unknown").classes == ["no", "yes"]

    def test_truth_values_may_have_gaps(self, tmp_path: Path) -> None:
        rows = "".join(f"{('True', 'False', '')[i % 3]},{i * i % 7},{i % 2}\n" for i in range(90))
        (tmp_path / "data.csv").write_text("flag,a,label\n" + rows)
        task = open_data(tmp_path / "data.csv", "label")
        assert task.describe()["columns"] == ["flag", "a"]
        assert any("30 of 180 values are missing (16.7 %), in 'flag' (30)" in note for note in task.notes())

    def test_a_column_without_a_value_beside_dates(self, tmp_path: Path) -> None:
        for empty in ("NA", " ", None):
            path = tmp_path / "data.jsonl"
            series().assign(none=empty).to_json(path, orient="records", lines=True)
            assert "left out: 'none'" in " ".join(open_data(path).notes())
            path = tmp_path / "data.csv"
            series().assign(none=empty).to_csv(path, index=False)
            assert "left out: 'none', without any value" in " ".join(open_data(path).notes())

    def test_targets_without_a_value(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="target: column 'label' of .* has no value in any row"):
            self.of(tmp_path, "")
