from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from anyformer.channels import create_channel
from anyformer.contract import Mixer
from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer
from anyformer.stack import Stack
from anyformer.wrappers.vip_compression import VipCompression


def layer() -> Stack:
    mixer = create_mixer("attention", 16, causal=False, positions="none")
    return Stack(16, [[mixer, create_channel("mlp", 16)]], last_norm=False)


def build(**options: int) -> Callable[[], Mixer]:
    def vip_compression() -> Mixer:
        return VipCompression(16, layer(), **options)

    return vip_compression


@pytest.mark.parametrize(
    "options",
    [
        {"num_vip": 2, "segment": 8, "refine": 2},
        {"segment": 4, "refine": 0},
        {"segment": 1},
    ],
)
def test_laws(options: dict[str, int]) -> None:
    check_mixer(build(**options))


def test_the_segments_that_vips_weigh_most_are_halved() -> None:
    block = VipCompression(4, create_mixer("pooling", 4, causal=False), num_vip=1, segment=4, refine=1)
    x = torch.zeros(1, 12, 4)
    x[0, 0, 0] = 1.0
    x[0, 7, 0] = 5.0  # the third token of the second segment (token 0 is VIP)
    real = torch.ones(1, 12, dtype=torch.bool)
    cut = block.segments(x, real)
    assert cut.number[0].tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 4, 4, 4]
    assert cut.sizes[0].tolist() == [4, 2, 1, 1, 3]
    real[0, 10:] = False
    assert block.segments(x, real).sizes[0].tolist() == [4, 2, 1, 1, 1]


def test_going_down_and_up_again_is_a_projection() -> None:
    block = VipCompression(16, layer(), num_vip=2, segment=8, refine=2).double()
    x = torch.randn(3, 40, 16, dtype=torch.float64)
    real = torch.arange(40) < torch.tensor([[40], [23], [5]])
    cut = block.segments(x, real)
    y = torch.randn(3, cut.sizes.shape[1], 16, dtype=torch.float64) * (cut.sizes > 0)[..., None]
    torch.testing.assert_close(cut.down(cut.up(y)), y)  # S S^+ = I
    for b in range(3):
        for s in range(cut.sizes.shape[1]):
            members = x[b, 2:][(cut.number[b] == s) & real[b, 2:]]
            if len(members):
                torch.testing.assert_close(cut.down(x[:, 2:])[b, s], members.mean(0))


def test_errors() -> None:
    with pytest.raises(ValueError, match="inner must be bidirectional"):
        VipCompression(16, create_mixer("attention", 16))
    with pytest.raises(ValueError, match="segment a power of two; got 1, 4 and 6"):
        VipCompression(16, layer(), segment=6)
