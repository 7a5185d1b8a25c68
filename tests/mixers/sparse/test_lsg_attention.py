from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.mixers.sparse.lsg_attention import Keys, LSGAttention
from anyformer.ops.attention import attention


def seen(T: int, mixer: LSGAttention, head: int) -> torch.Tensor:
    """(T, T) bool: what a head sees, for strides."""
    b, f, G = mixer.block, mixer.sparsity, mixer.num_global
    found = torch.zeros(T, T, dtype=torch.bool)
    found[:G], found[:, :G] = True, True
    for i in range(G, T):
        block = (i - G) // b
        left, right = (block - 1) * b, (block + 2) * b
        for j in range(G, T):
            place = j - G
            near = left <= place < right
            far = left - b * f <= place < right + b * f
            in_run = (place % b - head * (b // f)) % b < b // f
            picked = {"stride": place % f == head % f, "block_stride": in_run, "local": False}
            found[i, j] = near or (far and picked[mixer.selection])
    return found


@pytest.mark.parametrize("selection", ["stride", "block_stride", "local"])
@pytest.mark.parametrize("T, num_global", [(45, 2), (45, 0), (3, 2), (2, 4)])
def test_is_dense_attention_under_the_mask(T: int, num_global: int, selection: str) -> None:
    options: dict[str, Any] = {"block": 6, "sparsity": 2, "selection": selection, "num_global": num_global}
    mixer = create_mixer("lsg_attention", 12, num_heads=3, **options).double()
    x = torch.randn(2, T, 12, dtype=torch.float64)
    q, k, v = (layer(x).reshape(2, T, 3, 4).transpose(1, 2) for layer in (mixer.q, mixer.k, mixer.v))
    mask = torch.stack([seen(T, mixer, head) for head in range(3)])
    y = attention(q, k, v, visible=mask)
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


def thinned(selection: str, k: torch.Tensor, real: torch.Tensor) -> Keys:
    mixer = create_mixer("lsg_attention", 8, num_heads=1, block=4, sparsity=2, selection=selection).double()
    return mixer._thinned(Keys(k, k, real))


def test_norms_keep_the_largest_and_pooling_takes_means_of_what_is_real() -> None:
    k = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    real = torch.tensor([[[True] * 5 + [False] * 3]])
    kept = thinned("norm", k, real)
    size = k[0, 0, :4].norm(dim=-1)
    assert sorted(kept.k[0, 0, :2].norm(dim=-1).tolist()) == sorted(size.tolist())[2:]
    assert kept.real[0, 0].tolist() == [True, True, True, False]
    pooled = thinned("pooling", k, real)
    expected = [k[0, 0, :2].mean(0), k[0, 0, 2:4].mean(0), k[0, 0, 4], torch.zeros(8, dtype=torch.float64)]
    torch.testing.assert_close(pooled.k[0, 0], torch.stack(expected))
    assert pooled.real[0, 0].tolist() == [True, True, True, False]


def test_hashes_average_keys_that_point_the_same_way() -> None:
    direction = torch.randn(8, dtype=torch.float64)
    k = torch.stack([direction, 2 * direction, -direction, -3 * direction])[None, None]
    found = thinned("lsh", k, torch.ones(1, 1, 4, dtype=torch.bool)).k[0, 0]
    means = {tuple((c * direction).tolist()) for c in (1.5, -2.0)}
    assert {tuple(t) for t in found.tolist()} == means


@pytest.mark.parametrize(
    "options, message",
    [
        ({"causal": True}, "causal=True is not possible for lsg_attention"),
        ({"selection": "best"}, "selection must be one of local, stride, .*; got 'best'"),
        (
            {"block": 6, "sparsity": 4},
            "sparsity must divide block and num_global not be negative; got 4, 6 and 1",
        ),
        ({"block": 6, "selection": "lsh"}, "block / sparsity must be even for hashes, got 3"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("lsg_attention", 8, **options)
