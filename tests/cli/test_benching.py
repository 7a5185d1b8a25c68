"""``anyformer bench``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("attention", "--length", "0"), "--length must be at least 1"),
        (("real",), "bench real takes one folder of data, got none"),
        (("real", "nowhere"), "bench real takes a folder of data, got 'nowhere'"),
        (("real", "a", "b"), "bench real takes one folder of data, got a b"),
        (("real", ".", "--suite", "ops"), "bench real FOLDER takes no --suite"),
        (("real", ".", "--budget", "soon"), "--budget"),
        (("attention", "--seeds", "0"), "are for bench real FOLDER"),
        (("attention", "--budget", "9m"), "are for bench real FOLDER"),
    ],
)
def test_mistakes(args: tuple[str, ...], message: str, mistake: Callable[..., None]) -> None:
    mistake(("bench", *args), message)


@pytest.mark.usefixtures("brief_costs")
def test_real_compares_on_the_cases_of_a_folder_and_goes_on(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = "".join(f"{i % 7},{i % 3},{'xy'[(i % 7) % 2]}\n" for i in range(120))
    (data / "rows.csv").write_text("a,b,y\n" + rows, encoding="utf-8")
    (data / "notes.md").write_text("none of ours", encoding="utf-8")
    (data / "cases.yaml").write_text(
        "- {data: rows.csv, target: y, models: mamba depth=1, budget: 4 steps}\n"
        "- {data: rows.csv, name: broken, target: z}\n",
        encoding="utf-8",
    )
    out, keep = tmp_path / "page.md", tmp_path / "keep"
    args = ("bench", "real", data, "--out", out, "--keep", keep, "--seeds", 3, "--workers", 1)
    code, text = run(*args)
    assert code == 1 and "no case is of notes.md" in text and "2 of 2: broken" in text
    page = out.read_text(encoding="utf-8")
    assert page.startswith("# Real data") and "| rows.csv | accuracy | mamba depth=1 |" in page
    assert "`broken` broke off: " in page and "'z'" in page
    made = next(keep.glob("rows-csv-*/results.json")).stat().st_mtime_ns
    code, text = run(*args)
    assert next(keep.glob("rows-csv-*/results.json")).stat().st_mtime_ns == made  # not made again
    assert out.read_text(encoding="utf-8") == page
