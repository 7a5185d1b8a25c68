"""The benchmark: what it compares is the same computation, and its sums are right."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch

from anyformer.bench import SUITES, bench_mixers, growth, models, ops, peers, run_suites
from anyformer.bench.machine import Ceilings, measure_ceilings
from anyformer.bench.mixers import build, default_names, mixers_table
from anyformer.bench.report import Page, Plot, Table
from anyformer.bench.timing import Times, alternate, ratio


def test_alternating_runs_and_their_ratio() -> None:
    order: list[str] = []

    def run(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    times = alternate({"slow": lambda: run("slow", 0.03), "fast": lambda: run("fast", 0.006)}, seconds=0.01)
    assert order.count("slow") == 2 + 3, "two runs that are not counted, and three turns that are"
    assert order.count("fast") > 2 + 2 * 3, "a turn of short runs has several of them"
    assert 2 < ratio(times["slow"], times["fast"]) < 10
    assert Times((1.0, 2.0, 3.0)).median == 2.0
    assert ratio(Times((6.0,)), Times((1.0, 2.0, 3.0))) == 3.0


def test_what_is_slow_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyformer.bench.timing.SLOW", 0.01)
    times = alternate({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, seconds=0.01)
    assert len(times["slow"].runs) == 1 and len(times["fast"].runs) >= 3


def test_the_limit_is_the_largest() -> None:
    ceilings = Ceilings(matmul=100.0, matmul_bfloat16=1.0, memory=10.0, exponentials=1.0)
    assert ceilings.seconds(flops=100, bytes_=20, exponentials=1) == (2.0, "memory")
    assert ceilings.seconds(exponentials=7) == (7.0, "exponentials")


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
    assert "The suite `growth` broke off: ValueError: no such length" in page.markdown()


def test_a_mixer_is_left_out_where_it_takes_no_more() -> None:
    found = bench_mixers(["neural_processor", "pooling"], dim=16, lengths=(64, 512), repeats=3)
    assert [(t.mixer, t.length) for t in found] == [
        ("neural_processor", 64),
        ("pooling", 64),
        ("pooling", 512),
    ]


@pytest.mark.slow
def test_the_machine_is_measured() -> None:
    found = measure_ceilings()
    assert found.matmul > found.memory > 1e8 and found.exponentials > 1e7


@pytest.mark.parametrize("name", ops.MAKERS)
def test_work_can_run(name: str) -> None:
    """At a hundredth of the length that is timed."""
    work = ops.MAKERS[name](torch.Generator().manual_seed(0), 128)  # type: ignore[call-arg]
    assert work.op in ops.load_all()
    result = ops.load_all()[work.op].fast(*work.args, **work.options)
    assert (result if isinstance(result, torch.Tensor) else result[0]).isfinite().all()


def small_duels() -> list[peers.Duel]:
    random = torch.Generator().manual_seed(0)
    found = [peers._wkv(random, 32, 8), peers._retention(random, 32), peers._window(random, 32)]
    return [*found, *peers._naive(random, 32)]


@pytest.mark.parametrize("index", range(6))
def test_a_duel_is_about_one_computation(index: int) -> None:
    """Where both have the same inputs and no weights of their own, they give the same."""
    duel = small_duels()[index]
    for name, make in duel.theirs.items():
        try:
            theirs = make()
        except ImportError:
            pytest.skip(f"{name} is not installed")
        if duel.what.startswith("Retention's core, 8 heads"):
            continue  # dense softmax attention is another function
        torch.testing.assert_close(duel.ours(*duel.inputs), theirs(*duel.inputs), rtol=1e-3, atol=1e-4)


def test_peers_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> peers.Function:
        raise ImportError("no such library")

    x = torch.randn(4)
    duel = peers.Duel("sine", (x,), torch.sin, {"the same": lambda: torch.sin, "another": missing})
    monkeypatch.setattr(peers, "duels", lambda: iter([duel]))
    table = peers.bench_peers()
    assert [row[:2] for row in table.rows] == [("sine", "forward"), ("sine", "training")]
    assert "another" in table.note


def test_crossing() -> None:
    base = [(2.0**i, 4.0**i) for i in range(5)]
    assert (
        peers._crossing([(2.0**i, 4 * 2.0**i) for i in range(5)], base)
        == "faster than dense attention from about 4 tokens"
    )
    assert (
        peers._crossing([(2.0**i, 0.5 * 2.0**i) for i in range(5)], base)
        == "faster than dense attention from 1 tokens or fewer"
    )
    assert (
        peers._crossing([(2.0**i, 1e3) for i in range(5)], base)
        == "slower than dense attention up to 16 tokens"
    )


@pytest.mark.parametrize("name", dict.fromkeys([*growth.linear_names(), *default_names()]))
def test_what_is_timed_can_run(name: str) -> None:
    mixer = build(name, 16, 32)
    x = torch.randn(1, 32, 16, requires_grad=True)
    mixer(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_growth() -> None:
    assert growth.exponent([10, 20], [1.0, 4.0]) == pytest.approx(2.0)
    assert {"retention", "mamba", "rwkv4"} <= set(growth.linear_names())
    assert not {"attention", "cross_attention", "hyena"} & set(growth.linear_names())
    table, plot = growth.bench_growth(["pooling", "linformer"], dim=16, lengths=(64, 128))
    assert [row[0] for row in table.rows] == ["pooling", "linformer"] == list(plot.curves)


def test_memory_of_what_holds_more_is_larger() -> None:
    assert growth._peak("retention's core, 8 heads of 64", 8192) > 8192 * 8 * 64 * 4 * 3


def test_llama_shapes_agree() -> None:
    pytest.importorskip("transformers")
    peer = models.transformers_llama(16, 16, 1, 2)
    assert models.from_hf(peer).num_parameters() == sum(p.numel() for p in peer.parameters())


def test_attention_against_itself_is_about_one() -> None:
    timings = bench_mixers(["attention", "retention"], dim=16, lengths=(32, 64), repeats=9)
    assert [(t.mixer, t.length) for t in timings] == [
        (m, n) for m in ("attention", "retention") for n in (32, 64)
    ]
    assert 0.4 < timings[0].ratio_training < 2.5
    assert len(mixers_table(timings, 16).rows) == 4


def test_every_causal_mixer_is_timed_by_default() -> None:
    assert {"attention", "mamba", "hyena", "s4"} <= set(default_names())
    assert not {"linformer", "cross_attention"} & set(default_names())
    assert {t.mixer for t in bench_mixers(dim=16, lengths=(16,), repeats=3)} == set(default_names())


def test_a_page_is_written(tmp_path: Path) -> None:
    table = Table("Some times", ("what", "ms"), "A note.")
    table.add("a thing", Times((0.001, 0.002, 0.003)))
    plot = Plot("curves", "Curves", "tokens", "ms", {"one": [(1, 1), (2, 4)]})
    page = Page("a machine", "a command", [table], [plot])
    problems = page.write(tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| a thing | 2 ±100% |" in text and "![Curves](page/curves.svg)" in text
    assert json.loads((tmp_path / "page" / "figures.json").read_text())["machine"] == "a machine"
    if not problems:
        assert "<svg" in (tmp_path / "page" / "curves.svg").read_text()
    assert math.isclose(Times((1.0, 2.0, 3.0)).spread, 1.0)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 3"):
        bench_mixers(["attention"], repeats=1)
    with pytest.raises(ValueError, match="unknown mixer 'atention'"):
        bench_mixers(["atention"])
    with pytest.raises(ValueError, match="unknown suite 'op'.*ops"):
        run_suites(["op"])
    assert len(SUITES) == 7
