"""The benchmark: what it compares is the same computation, and its sums are right."""

from __future__ import annotations

import pytest

from anyformer.bench import SUITES, bench_mixers, run_suites


def test_suites_of_the_cpu_stay_there() -> None:
    there = "peers, training, decoding, growth, mixers"
    with pytest.raises(ValueError, match=f"suite 'memory' measures the CPU; on cuda there are {there}"):
        run_suites(["memory"], device="cuda")


def test_what_was_found_outlives_a_suite_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def growth(**_: object) -> None:
        raise ValueError("no such length")

    monkeypatch.setattr("anyformer.bench.bench_growth", growth)
    monkeypatch.setattr("anyformer.bench.bench_mixers", lambda **_: bench_mixers(["pooling"], lengths=[16]))
    page = run_suites(["growth", "mixers"])
    assert [table.title for table in page.tables] == ["Mixers beside softmax attention"]
    assert "`growth` broke off: ValueError: no such length" in page.markdown()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 3"):
        bench_mixers(["attention"], repeats=1)
    with pytest.raises(ValueError, match="unknown mixer 'atention'"):
        bench_mixers(["atention"])
    with pytest.raises(ValueError, match="unknown suite 'op'.*ops"):
        run_suites(["op"])
    assert len(SUITES) == 7
