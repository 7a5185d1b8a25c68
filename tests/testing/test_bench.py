"""The benchmark: a table of ratios in which attention against itself is about one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyformer.testing.bench import as_markdown, bench_mixers, default_names, growth


def test_attention_against_itself_is_about_one() -> None:
    timings = bench_mixers(["attention", "retention"], dim=16, lengths=(32, 64), repeats=9)
    assert [(t.mixer, t.length) for t in timings] == [
        (m, n) for m in ("attention", "retention") for n in (32, 64)
    ]
    assert 0.4 < timings[0].ratio_training < 2.5
    one, two = (replace(timings[0], length=n, training=seconds) for n, seconds in ((10, 1.0), (20, 4.0)))
    assert growth([one, two], "attention") == pytest.approx(2.0)
    table = as_markdown(timings, 16)
    assert table.count("\n| ") == 5
    assert "x attention" in table


def test_every_causal_mixer_is_timed_by_default() -> None:
    assert {"attention", "mamba", "hyena", "s4"} <= set(default_names())
    assert not {"linformer", "cross_attention"} & set(default_names())
    assert {t.mixer for t in bench_mixers(dim=16, lengths=(16,), repeats=3)} == set(default_names())


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 3"):
        bench_mixers(["attention"], repeats=1)
    with pytest.raises(ValueError, match="unknown mixer 'atention'"):
        bench_mixers(["atention"])
