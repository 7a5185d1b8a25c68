"""Ctrl-C on the real commands: they answer at once, and say how to go on.

On an idle machine the answer comes within three seconds: two are the most that workers get for a last checkpoint, and
what the command itself does then is held here to a second of processor time, however busy the machine is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processor times are read from /proc")

COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs behind it deaf to Ctrl-C
sys.argv[0] = "anyformer"
from anyformer.cli import app
app()
"""
WORK = 1.0
"""Seconds of processor time that the answer may take."""
HANGS = 100
"""Seconds behind which it is taken never to end; that is its interpreter's work, a second or two on an idle machine."""


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answer(begun: Callable[[], bool], *args: object) -> tuple[int, str, float]:
    """Stops a command once it trains: exit code, what it said, and the processor time from the signal to its answer."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        while not begun():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        worked, said = processor_seconds(process.pid), ""
        process.send_signal(signal.SIGINT)
        while "Stopped" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        worked = processor_seconds(process.pid) - worked
        said += process.communicate(timeout=HANGS)[0]
    finally:
        process.kill()
        process.wait()
    return process.returncode, " ".join(said.split()), worked


def test_compare(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--models", "retnet", "--parameters", 8000, "--batch-size", 4, "--workers", 2)
    code, said, worked = answer(
        lambda: any(out.glob("units/*-search-*/progress.json")),
        *("compare", "recall", "--budget", "100000 steps", "--out", out, *options),
    )
    assert code == 130, said
    assert f"Continue with: anyformer compare --resume {out}" in said and "Traceback" not in said
    assert worked <= WORK


def test_train(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, worked = answer(
        (out / "checkpoint.pt").exists,
        *("train", "recall", "--model", "retnet dim=8 depth=1", "--steps", 10**6, "--out", out),
    )
    assert code == 130, said
    assert f"Continue with: anyformer train --out {out} --resume" in said and "Traceback" not in said
    assert worked <= WORK
