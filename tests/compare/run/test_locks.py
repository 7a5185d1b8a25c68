"""A lock has one holder, and a dead holder is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anyformer.compare.run.locks import FileLock

HOLD = """
import sys
from pathlib import Path
from anyformer.compare.run.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "a" / "lock"), FileLock(tmp_path / "a" / "lock")
    assert one.acquire() and not other.acquire()
    with pytest.raises(AssertionError, match="already held"):
        one.acquire()
    one.release()
    one.release()
    assert other.acquire()
    other.release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "True\n"
    assert not FileLock(path).acquire()
    holder.kill()
    holder.communicate()
    lock = FileLock(path)
    assert lock.acquire()
    lock.release()
