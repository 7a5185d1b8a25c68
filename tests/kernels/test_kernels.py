"""Loading the native kernels, every instruction set of them, and doing without."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anyformer import kernels
from anyformer.ops import native_status, use_native

SETS = ["baseline", "avx2", "avx512"]
BEST = kernels.LEVELS.get(torch.backends.cpu.get_cpu_capability(), "baseline")
needs_kernels = pytest.mark.skipif(native_status().library is None, reason="installed without native kernels")

EVERY_OP = """
import torch
from anyformer import kernels
from anyformer.ops import native_exponential, native_status
for dtype, tolerance in ((torch.float32, 3e-7), (torch.float64, 5e-16)):
    x = torch.cat((torch.linspace(-87, 88, 5001, dtype=dtype), torch.randn(777, dtype=dtype)))
    y = torch.empty(torch.get_num_threads(), len(x), dtype=dtype)
    native_exponential(x, y, 1)
    error = ((y[0].double() - x.double().exp()) / x.double().exp()).abs().max()
    assert error < tolerance, (dtype, error)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -1e4, 1e4], dtype=dtype)
    native_exponential(special, y, 1)
    torch.testing.assert_close(y[0, :6], special.exp(), equal_nan=True, rtol=0, atol=0)
print(native_status().library)
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith("ANYFORMER_")} | environment
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True)


@needs_kernels
@pytest.mark.parametrize("level", SETS[: SETS.index(BEST) + 1])
def test_exponentials_of_every_instruction_set(level: str) -> None:
    if level not in kernels.built_in(kernels.__path__):
        pytest.skip(f"the kernels for {level} were not built")
    done = python(EVERY_OP, ANYFORMER_NATIVE=level)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == level


def test_turned_off() -> None:
    done = python("from anyformer.ops import native_status as s; print(s().library)", ANYFORMER_NATIVE="0")
    assert done.stdout.strip() == "None"
    assert not done.stderr, "who turns them off needs no notice"
    with use_native(False):
        assert native_status().library is None and kernels.refuses(torch.ones(1)) == kernels.OFF


def test_one_notice_without_kernels(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernels, "__path__", [str(tmp_path)])
    monkeypatch.setenv("ANYFORMER_NATIVE", "1")
    monkeypatch.delenv("ANYFORMER_NOTICED", raising=False)
    with caplog.at_level(logging.WARNING, "anyformer"):
        for _ in range(2):
            library, status = kernels._load.__wrapped__()
    assert library is None and "C compiler" in status.reason
    assert len(caplog.records) == 1 and "pure PyTorch" in caplog.text


def test_a_missing_set_and_a_broken_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    suffix = ".dll" if sys.platform == "win32" else ".so"
    (tmp_path / f"anyformer_other{suffix}").write_bytes(b"not a library")
    monkeypatch.setattr(kernels, "__path__", [str(tmp_path)])
    monkeypatch.setenv("ANYFORMER_NOTICED", "1")
    for level, reason in (
        ("avx1024", "only for other"),
        ("baseline", "only for other; CMAKE_ARGS=-DANYFORMER_BASELINE=ON"),
        ("other", "could not be loaded"),
    ):
        monkeypatch.setenv("ANYFORMER_NATIVE", level)
        library, status = kernels._load.__wrapped__()
        assert library is None and reason in status.reason


@needs_kernels
def test_what_kernels_take() -> None:
    x = torch.ones(2)
    assert kernels.refuses(x, None, x) is None and kernels.refuses(x.double()) is None
    refused = {
        "one dtype": (x, x.double()),
        "float32 and float64": (x.bfloat16(),),
        "for CPUs": (x.to("meta"),),
        "empty": (x[:0],),
    }
    for reason, tensors in refused.items():
        assert reason in str(kernels.refuses(*tensors))


@needs_kernels
def test_threads_follow_torch() -> None:
    """Each thread writes a row of its own: as many rows are written as PyTorch has threads."""
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = torch.zeros(4, 8)
            kernels.run("exponential", torch.ones(8), out, 8, 64)
            assert (out != 0).any(1).sum() == threads
    finally:
        torch.set_num_threads(before)


@needs_kernels
def test_kernels_of_a_folder_and_a_name_that_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only a whole path names a folder: one called "1" where Python was started loads nothing."""
    monkeypatch.setenv("ANYFORMER_NOTICED", "1")
    (tmp_path / "1").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANYFORMER_NATIVE", "1")
    assert kernels._load.__wrapped__()[1].library == native_status().library
    monkeypatch.setenv("ANYFORMER_NATIVE", str(tmp_path))
    library, status = kernels._load.__wrapped__()
    assert library is None and "no C compiler" in status.reason


def test_the_compiler_is_not_imported_at_the_start() -> None:
    done = python("import sys, anyformer.compare, anyformer.cli; print('torch._dynamo' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_a_constant_is_marked_as_pytorch_marks_it() -> None:
    mine, theirs = kernels.constant(lambda: 1), torch.compiler.assume_constant_result(lambda: 1)
    assert vars(mine) == vars(theirs) != {}
