"""One clear message for each mistake in ``anyformer compare``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

BROKEN_YAML = "layers: [attention\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("compare", "no/such/file.csv"), "there is no file or folder 'no/such/file.csv'"),
        (("compare", "empty.csv", "--target", "x"), "empty.csv is empty"),
        (("compare", "short.csv", "--target", "x"), "too few"),
        (("compare", "words.csv", "--target", "x"), "give --option kind=classify"),
        (("compare", "words.csv", "--target", "z"), "has no column 'z'"),
        (("compare", "bytes.txt"), "byte 6000 (0xff) is not UTF-8 text"),
        (("compare", "giant.txt"), "give --option raw=true"),
        (("compare", "recall", "--models", "transfomer"), "did you mean 'transformer'"),
        (("compare", "recall", "--models", "[attention("), "expected the name of a part, got 'the end'"),
        (("compare", "recall", "--models", "broken.yaml"), "is not YAML"),
        (("compare", "recall", "--models", "latin.yaml"), "is not UTF-8 text: byte 0 is 0xe4"),
        (("compare", "recall", "--models", "[broken.py:Mine]*1"), "is not Python: "),
        (("compare", "recall", "--budget", "-5s"), "--budget must be positive"),
        (("compare", "recall", "--budget", "soon"), "--budget: expected a time"),
        (("compare", "recall", "--seeds", "1"), "--seeds must be at least 3"),
        (("compare", "recall", "--workers", "0"), "--workers must be at least 1"),
        (("compare", "recall", "--hold", "speed"), "--hold must be 'parameters' or 'flops'"),
        (("compare", "recall", "--equal", "time"), "--equal must be 'budget' or 'steps', got 'time'"),
        (("compare", "--more", "soon", "nowhere"), "--more: expected a time"),
        (("compare", "recall", "--models", "retension"), "did you mean 'retention'"),
        (("compare", "recall", "--models", "[lstm*99999999999]*1"), "a model has at most 10,000 layers"),
        (("compare", "recall", "--option", "foo=3"), "has no option 'foo'"),
        (("compare", "recall", "--option", "foo"), "--option must be written name=value"),
        (("compare", "--resume", "nowhere"), "holds no comparison to resume"),
        (
            ("compare", "recall", "--resume", "nowhere"),
            "--resume goes on with the plan in its folder: it takes no data",
        ),
        (
            ("compare", "--resume", "nowhere", "--budget", "9m", "--seeds", "5"),
            "it takes no --budget and no --seeds",
        ),
        (("compare", "--more", "9m", "nowhere", "--workers", "3"), "it takes no --workers"),
        (("compare", "--join", "nowhere", "--out", "x"), "it takes no --out"),
    ],
)
def test_a_mistake_gets_one_message(
    args: tuple[str, ...],
    message: str,
    mistake: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "short.csv").write_text("date,x\n2024-01-01,1\n2024-01-02,2\n")
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 8) for day in range(1, 29)]
    (tmp_path / "words.csv").write_text("date,x\n" + "".join(f"{day},word\n" for day in days))
    (tmp_path / "bytes.txt").write_bytes(b"hello " * 1000 + b"\xff\xfe" + b"x" * 1000)
    (tmp_path / "giant.txt").write_text("a" * 3_000_000)
    (tmp_path / "broken.yaml").write_text(BROKEN_YAML)
    (tmp_path / "latin.yaml").write_bytes(b"\xe4: 1\n")
    (tmp_path / "broken.py").write_text("class (\n")
    before = sorted(tmp_path.iterdir())
    mistake(args, message)
    assert sorted(tmp_path.iterdir()) == before
