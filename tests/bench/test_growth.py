"""Growth of time and memory with the length."""

from __future__ import annotations

import pytest

from anyformer.bench import growth


def test_growth() -> None:
    assert growth.exponent([10, 20], [1.0, 4.0]) == pytest.approx(2.0)
    assert {"retention", "mamba", "rwkv4"} <= set(growth.linear_names())
    assert not {"attention", "cross_attention", "hyena"} & set(growth.linear_names())
    table, plot = growth.bench_growth(["pooling", "linformer"], dim=16, lengths=(64, 128))
    assert [row[0] for row in table.rows] == ["pooling", "linformer"] == list(plot.curves)


def test_memory_of_what_holds_more_is_larger() -> None:
    assert growth._peak("retention's core, 8 heads of 64", 8192) > 8192 * 8 * 64 * 4 * 3
