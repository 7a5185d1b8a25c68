"""Mixers beside softmax attention."""

from __future__ import annotations

import pytest
import torch

from anyformer.bench import bench_mixers, growth
from anyformer.bench.mixers import build, default_names, mixers_table


def test_a_mixer_is_left_out_where_it_takes_no_more() -> None:
    found = bench_mixers(["neural_processor", "pooling"], dim=16, lengths=(64, 512), repeats=3)
    assert [(t.mixer, t.length) for t in found] == [
        ("neural_processor", 64),
        ("pooling", 64),
        ("pooling", 512),
    ]


@pytest.mark.parametrize("name", dict.fromkeys([*growth.linear_names(), *default_names()]))
def test_what_is_timed_can_run(name: str) -> None:
    mixer = build(name, 16, 32)
    x = torch.randn(1, 32, 16, requires_grad=True)
    mixer(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


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
