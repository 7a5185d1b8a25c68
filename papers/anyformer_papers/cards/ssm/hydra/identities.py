"""Identities of Hydra, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import inputs_of, mixes
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.linear.mamba2 import ssd
from anyformer.mixers.state_space.hydra import Hydra
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # the same ablation on nested expressions
    task="listops",
    arms={
        "quasiseparable": "[hydra(state_dim=8, shift=true)]*2 causal=false positions=none channel=none",
        "add": "[hydra(state_dim=8, shift=false)]*2 causal=false positions=none channel=none",
    },
    options={"length": 16},
    smallest=0.02,
    steps=1000,
    parameters=30_400,
)


@identity("the quasiseparable matrix times X = shift and flip")
def shift_and_flip() -> None:
    mixer = Hydra(8, num_heads=2, state_dim=3, causal=False).double()
    x = torch.randn(2, 20, 8, dtype=torch.float64)
    mixes(mixer, x)
    inputs = inputs_of(x)
    ahead, back, diagonal, gate = mixer._choose(x, inputs)
    zero = torch.zeros_like(ahead.x[:, :, :1])
    A = mixer._rates()
    y = torch.cat((zero, ssd(ahead, A)[0][:, :, :-1]), 2)
    z = torch.cat((zero, ssd(back, A)[0][:, :, :-1]), 2).flip(2)
    close("the paper's formula", mixer(x), mixer._finish(y + z + diagonal * ahead.x, gate))


@identity(
    "every block strictly below or above the diagonal has rank K at most, and the diagonal is free of both"
)
def ranks() -> None:
    K, T = 3, 24
    mixer = Hydra(8, num_heads=2, state_dim=K, causal=False).double()
    x = torch.randn(1, T, 8, dtype=torch.float64)
    matrix = mixes(mixer, x)[0].detach()
    for cut in range(1, T):
        for block in (matrix[:, cut:, :cut], matrix[:, :cut, cut:]):
            assert int(torch.linalg.matrix_rank(block, rtol=1e-9).max()) == min(K, cut, T - cut)
    _, _, diagonal, _ = mixer._choose(x, inputs_of(x))
    close("the diagonal", matrix.diagonal(dim1=-2, dim2=-1), diagonal[0, ..., 0])


@identity("reversing the tokens and swapping the two ways reverses the outputs")
def symmetric() -> None:
    mixer = Hydra(8, num_heads=2, state_dim=3, causal=False).double()
    x = torch.randn(1, 20, 8, dtype=torch.float64)
    y = mixer(x).flip(1)
    with torch.no_grad():
        gate, v, *bc, dt = mixer.in_proj.weight.split((16, 16, 3, 3, 3, 3, 4))
        swapped = (gate, v, bc[2], bc[3], bc[0], bc[1], dt[2:], dt[:2])
        mixer.in_proj.weight.copy_(torch.cat(swapped))
        for p in (mixer.taps, mixer.conv_bias):
            v, *bc = p.split((16, 3, 3, 3, 3))
            p.copy_(torch.cat((v, bc[2], bc[3], bc[0], bc[1])))
        mixer.taps.copy_(mixer.taps.flip(1))
    close("reversed", mixer(x.flip(1)), y)


@identity("each class = its dense matrix, low-rank and semiseparable with their ranks")
def classes() -> None:
    x = torch.randn(1, 20, 8, dtype=torch.float64)
    for name, options in (
        ("matrix_mixer", {"matrix": "cauchy"}),
        ("matrix_mixer", {"matrix": "vandermonde"}),
        ("linear_attention", {"feature_map": "identity", "normalize": False, "num_heads": 4}),
    ):
        matrix = mixes(create_mixer(name, 8, causal=False, **options).double(), x)[0]
        if name == "linear_attention":
            assert int(torch.linalg.matrix_rank(matrix.detach(), rtol=1e-9).max()) == 2
    matrix = mixes(create_mixer("mamba2", 8, state_dim=3).double(), x)[0].detach()
    assert int(torch.linalg.matrix_rank(matrix[:, 10:, :10], rtol=1e-9).max()) == 3
