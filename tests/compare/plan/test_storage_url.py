"""Passwords of storages are used and written nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.compare import compare, resume
from anyformer.compare.plan.storage_url import full_url, masked

SECRET = "S3cr:t@W0rd"


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql+psycopg2://me:pw@host:5432/db", "postgresql+psycopg2://me:***@host:5432/db"),
        (f"mysql://me:{SECRET}@host/db", "mysql://me:***@host/db"),
        ("redis://:pw@host", "redis://:***@host"),
        ("postgresql://host/db?user=me&password=pw&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("postgresql://host/db?sslmode=on&SSLPassword=pw", "postgresql://host/db?sslmode=on&SSLPassword=***"),
        ("sqlite:///a/study.db", "sqlite:///a/study.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("compare x --storage mysql://a:b@c/d --seeds 3", "compare x --storage mysql://a:***@c/d --seeds 3"),
    ],
)
def test_masks(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert masked(shown) == shown


WORD = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#&"), min_size=6, max_size=12
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(WORD, st.sampled_from(["postgresql", "mysql+pymysql", "redis"]))
def test_no_password_survives(password: str, scheme: str) -> None:
    assert (
        password not in masked(f"{scheme}://user:{password}@host.example/db")
        or password in "user:***@host.example"
    )


def test_the_full_url_comes_from_the_caller_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANYFORMER_STORAGE", raising=False)
    url = "mysql://me:pw@host/db"
    assert full_url(None, None) is None
    assert full_url("sqlite:///x.db", None) == "sqlite:///x.db"
    assert full_url(masked(url), url) == url
    with pytest.raises(ValueError, match="ANYFORMER_STORAGE"):
        full_url(masked(url), None)
    with pytest.raises(ValueError, match="begun with") as caught:
        full_url(masked(url), "mysql://me:pw@other/db")
    assert "pw" not in str(caught.value)
    monkeypatch.setenv("ANYFORMER_STORAGE", url)
    assert full_url(masked(url), None) == url
    assert full_url(None, None) is None  # begun without one: the environment changes nothing


@pytest.mark.usefixtures("brief_costs")
def test_no_file_of_a_comparison_holds_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path.as_posix()}/shared.db?password={SECRET}"
    monkeypatch.setattr("sys.argv", ["anyformer", "compare", "recall", "--storage", url])
    settings = {"vocab_size": 8, "num_pairs": 2, "length": 12}
    folder = tmp_path / "out"
    compare("recall", "transformer dim=16 depth=1", options=settings, budget="8 steps", batch_size=4, out=folder,
            workers=1, storage=url, quiet=True)  # fmt: skip
    assert "--storage" in (folder / "results.json").read_text()
    for file in folder.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    with pytest.raises(ValueError, match="password"):
        resume(folder, quiet=True)
