"""Files and folders are replaced whole or not at all, and digests show what changed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from anyformer.files import (
    TEMPORARY,
    file_digest,
    file_digests,
    read_json,
    remove_temporary,
    spoiled_files,
    whole_file,
    whole_folder,
    write_atomically,
)


def test_an_error_leaves_the_old_file_and_nothing_besides(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_atomically(path, "old")
    with suppress(ZeroDivisionError), whole_file(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == "old" and [*path.parent.iterdir()] == [path]
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and [*path.parent.iterdir()] == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for fails in (False, True, False):
        before = {file.name for file in path.glob("*")}
        try:
            with whole_folder(path) as temporary:
                temporary.mkdir()
                (temporary / f"{len(before)}{fails}").write_text("x")
                if fails:
                    raise RuntimeError
        except RuntimeError:
            assert {file.name for file in path.iterdir()} == before
        else:
            assert {file.name for file in path.iterdir()} == {f"{len(before)}{fails}"}
        assert [*tmp_path.iterdir()] == [path]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), whole_file(tmp_path / "a.txt") as temporary:
        assert temporary.match(TEMPORARY)  # never written, so that it cannot be moved
    (tmp_path / temporary.name).write_text("half")
    (tmp_path / f".b.{1}.tmp").mkdir()
    (tmp_path / "kept.tmp").write_text("x")
    remove_temporary(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["kept.tmp"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path) is None


def test_digests_name_what_is_gone_or_changed(tmp_path: Path) -> None:
    inner = tmp_path / "code"
    inner.mkdir()
    for name in ("a", "b", "c"):
        (inner / name).write_text(name)
    (tmp_path / "d").write_text("d")
    digests = file_digests(tmp_path, inner, tmp_path / "d")
    assert set(digests) == {"code/a", "code/b", "code/c", "d"} and not spoiled_files(tmp_path, digests)
    (inner / "a").unlink()
    (inner / "b").write_text("x")
    assert spoiled_files(tmp_path, digests) == [inner / "a", inner / "b"]
    assert len(file_digest(tmp_path / "d")) == 32
