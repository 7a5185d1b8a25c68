"""Files and folders that make no task."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_labelled import saved, table

from anyformer.tasks import DataError, create_task


def test_wrong_files(tmp_path: Path) -> None:
    saved(tmp_path, table(), "sales.csv")
    with pytest.raises(
        DataError, match=r"there is no file or folder '.*slaes\.csv'; did you mean 'sales\.csv'\?"
    ):
        create_task(tmp_path / "slaes.csv")
    with pytest.raises(DataError, match="there is no folder .* either"):
        create_task(tmp_path / "nowhere" / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"a\.parquet is not a readable Parquet file: "):
        create_task(tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DataError, match=r"\.json files are not read: save it as \.jsonl"):
        create_task(tmp_path / "a.json")
    for line, message in [
        ('{"text": "a"}\n{broken', "line 2 is not JSON"),
        ("[1, 2]", "line 1 must be an object like"),
    ]:
        (tmp_path / "a.jsonl").write_text(line)
        with pytest.raises(DataError, match=message):
            create_task(tmp_path / "a.jsonl")
