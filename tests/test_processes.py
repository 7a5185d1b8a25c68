"""The environment and the signals of processes that are started."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

from anyformer.processes import began, environment, sigint_blocked, take_environment


def test_variables_hold_inside_and_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYFORMER_HELD", "old")
    monkeypatch.delenv("ANYFORMER_NEW", raising=False)
    with suppress(ZeroDivisionError), environment(ANYFORMER_HELD="inside", ANYFORMER_NEW="1"):
        assert (os.environ["ANYFORMER_HELD"], os.environ["ANYFORMER_NEW"]) == ("inside", "1")
        assert 1 / 0
    assert os.environ["ANYFORMER_HELD"] == "old" and "ANYFORMER_NEW" not in os.environ


def test_the_parents_environment_replaces_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {**os.environ, "ANYFORMER_NEW": "1"}
    monkeypatch.setattr("os.environ", {**os.environ, "ANYFORMER_OLD": "1"})
    take_environment(held)
    assert dict(os.environ) == held


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be blocked")
@pytest.mark.parametrize("threads", [0, 3])
def test_an_interrupt_waits_until_processes_are_started(threads: int) -> None:
    over, handled = threading.Event(), []
    for _ in range(threads):  # any of which may get it
        threading.Thread(target=over.wait, daemon=True).start()
    before = signal.signal(signal.SIGINT, lambda *_: handled.append(True))
    try:
        with sigint_blocked():
            os.kill(os.getpid(), signal.SIGINT)
            assert not handled
        assert handled == [True]
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)


def test_this_process_began_before_now() -> None:
    assert began() <= time.monotonic() and began() == pytest.approx(began(), abs=1)
