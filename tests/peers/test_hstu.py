"""Against numbers of the original HSTU; see data/make_hstu.py for how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.hstu import EPSILON

RECORD: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "hstu.json").read_text())


def number(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def test_layer() -> None:
    """The whole layer, with one bias a distance for all heads; what the sums are divided by cancels in the norm."""
    x, weights, H = number(RECORD["x"]), RECORD["weights"], RECORD["heads"]
    T, D = x.shape
    into, bias = number(weights["_uvqk"]), number(weights["_rel_attn_bias._w"])
    scheme = {"name": "t5", "num_buckets": 2 * T, "max_distance": 4 * T}
    mixer = create_mixer("hstu", D, num_heads=H, head_dim=into.shape[1] // (4 * H), positions=scheme).double()
    with torch.no_grad():
        mixer.into.weight.copy_(into.T)
        mixer.out.weight.copy_(number(weights["_o.weight"]))
        mixer.out.bias.copy_(number(weights["_o.bias"]))
        mixer.positions.weight[:T] = bias[:T].flip(0)[:, None]  # theirs is by j - i
    y = x + mixer(layer_norm(x, (D,), eps=EPSILON)[None])[0]
    torch.testing.assert_close(y, number(RECORD["y"]), rtol=1e-7, atol=1e-7)
