"""Limits as users write them."""

from __future__ import annotations

import pytest

from anyformer.compare.plan.limits import read_bytes, read_latency
from anyformer.spelling import command_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (5, (5.0, None)),
        ("5", (5.0, None)),
        ("5ms", (5.0, None)),
        (1e-5, (1e-5, None)),
        ("1e2ms", (100.0, None)),
        (" 0.5 ms / token", (0.5, "token")),
        ("200us/sample", (0.2, "sample")),
        ("2s", (2000.0, None)),
    ],
)
def test_times(text: str | float, expected: tuple[float, str | None]) -> None:
    assert read_latency(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (4096, (4096.0, "model")),
        ("2MB", (2e6, "model")),
        ("2 MiB/model", (2.0**21, "model")),
        ("64KiB/state", (65536.0, "state")),
        ("3kB", (3000.0, "model")),
    ],
)
def test_sizes(text: str | float, expected: tuple[float, str]) -> None:
    assert read_bytes(text) == expected


@pytest.mark.parametrize("text", ["fast", "5 m", "5ms/model", "-1ms", "0ms", "", True, "nan"])
def test_what_is_no_time(text: str) -> None:
    with command_line(), pytest.raises(ValueError, match=r'--max-latency must be a time \("5ms", .*got'):
        read_latency(text)


@pytest.mark.parametrize("text", ["2MB/token", "2 megabytes", "0B", "2mb"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r'max_bytes must be a size \("2MB", "64KiB/state"\), got'):
        read_bytes(text)
