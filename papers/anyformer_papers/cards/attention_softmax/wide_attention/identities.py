"""Identities of Wide attention, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

SHAPES = {
    depth: f"[attention(num_heads={8 // depth}, head_dim=4)]*{depth} dim=16 channel=mlp"
    for depth in (1, 2, 4, 8)
}
"""Eight heads of width 4, side by side or one after the other."""

study = Study(  # one kind of attention on one of the tasks, shortened
    task="listops",
    arms={
        "wide": "[attention(num_heads=8, head_dim=8)] causal=false",
        "deep": "[attention(num_heads=2, head_dim=8)]*4 causal=false",
    },
    options={"length": 16},
    smallest=0.02,
    expect="no worse",
    steps=1000,
    parameters=30_000,
)


@identity(
    "at constant width and heads in all, attention has the same parameters in every shape, networks 1 / layers"
)
def sizes() -> None:
    for depth, spec in SHAPES.items():
        layers = create_model(spec, vocab_size=3).body.stack.sublayers
        mixers, networks = (
            sum(p.numel() for m in part for p in m.parameters()) for part in (layers[::2], layers[1::2])
        )
        assert mixers == 4 * 8 * 4 * 16, depth
        assert networks == depth * (2 * 16 * 64 + 64 + 16), depth


@identity("a wide layer = the sum of its heads alone, each with its rows of the output map")
def heads_add_up() -> None:
    wide, x = Attention(16, num_heads=8, head_dim=4).double(), torch.randn(2, 20, 16, dtype=torch.float64)
    total = torch.zeros_like(x)
    for h in range(8):
        rows, one = slice(4 * h, 4 * h + 4), Attention(16, num_heads=1, head_dim=4).double()
        weights = {f"{name}.weight": wide.get_parameter(f"{name}.weight")[rows] for name in "qkv"}
        one.load_state_dict({**weights, "out.weight": wide.out.weight[:, rows]})
        total = total + one(x)
    close("y", wide(x), total)
