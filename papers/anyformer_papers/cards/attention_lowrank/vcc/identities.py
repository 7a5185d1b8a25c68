"""Identities of VCC, and its study."""

from __future__ import annotations

import torch

from anyformer.channels import create_channel
from anyformer.contract import Mixer
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.stack import Stack
from anyformer.wrappers.vip_compression import VipCompression
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy: whether finer segments where the VIP looks find what one length for all does not
    task="lookup",
    arms={
        "refined": "[vip_compression([attention], segment=8, refine=2)]*2 causal=false positions=sinusoidal",
        "means": "[vip_compression([attention], segment=8, refine=0)]*2 causal=false positions=sinusoidal",
    },
    smallest=0.05,
    steps=1000,
    parameters=30_000,
)


def _layer(plain: bool = False) -> Mixer:
    """A Transformer layer on a stream, or attention alone whose scores are the products of its inputs."""
    mixer = create_mixer("attention", 16, causal=False, positions="none", num_heads=1 if plain else 4)
    if plain:
        for name in ("q", "k"):
            getattr(mixer, name).weight.data = torch.eye(16)
    sublayers = [mixer] if plain else [mixer, create_channel("mlp", 16)]
    norm = "none" if plain else "rms_norm"
    return Stack(16, [sublayers], last_norm=False, norm=norm).double()


@identity("refined to single tokens it is the layer")
def whole() -> None:
    inner, x = _layer(), torch.randn(2, 37, 16, dtype=torch.float64)
    for segment, refine in ((8, 100), (1, 0)):
        block = VipCompression(16, inner, num_vip=3, segment=segment, refine=refine).double()
        close(f"segments of {segment}", block(x), inner(x) - x, 1e-12)


@identity("S S^+ = I, and nothing but means changes: C - S^+ S C stays as it is")
def projection() -> None:
    block = VipCompression(16, _layer(), num_vip=3, segment=8, refine=2).double()
    x = torch.randn(2, 61, 16, dtype=torch.float64)
    cut = block.segments(x, torch.ones(2, 61, dtype=torch.bool))
    means = torch.randn(2, cut.sizes.shape[1], 16, dtype=torch.float64) * (cut.sizes > 0)[..., None]
    close("S S^+", cut.down(cut.up(means)), means)
    before, after = x[:, 3:], (x + block(x))[:, 3:]
    close("C - S^+ S C", after - cut.up(cut.down(after)), before - cut.up(cut.down(before)))
    assert float((after - before).detach().abs().max()) > 0.1


@identity("each refinement adds one segment: n / segment + refine log2(segment) of them")
def number() -> None:
    for segment, refine in ((16, 3), (8, 1), (4, 0)):
        block = VipCompression(16, _layer(), segment=segment, refine=refine).double()
        x = torch.randn(1, 129, 16, dtype=torch.float64)
        cut = block.segments(x, torch.ones(1, 129, dtype=torch.bool))
        assert int((cut.sizes > 0).sum()) == 128 // segment + refine * (segment.bit_length() - 1)
        assert int(cut.sizes.sum()) == 128


@identity(
    "VIPs' outputs are nearer to the layer's than with as many means of one length, and the more, the nearer"
)
def refinement() -> None:
    inner, x = _layer(plain=True), torch.randn(8, 129, 16, dtype=torch.float64)
    x[:, 0] *= 2

    def error(segment: int, refine: int) -> float:
        block = VipCompression(16, inner, segment=segment, refine=refine).double()
        return float((block(x) - (inner(x) - x))[:, 0].detach().norm())

    refined = [error(16, refine) for refine in (2, 6, 14)]  # 16, 32 and 64 segments
    even = [error(segment, 0) for segment in (8, 4, 2)]
    assert refined[0] > refined[1] > refined[2], refined
    assert all(a < b for a, b in zip(refined, even, strict=True)), (refined, even)
