"""Identities of MoHD, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu

from anyformer.channels.mohd import MixtureOfHiddenDimensions
from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "mohd": "[attention]*2 channel=mohd(num_groups=4, num_shared=1, top_k=1)",
        "swiglu": "[attention]*2 channel=swiglu",
    },
    smallest=0.02,
    expect="no worse",
    options={"length": 16},
    steps=1000,
    parameters=30_000,
)


def sparse(**options: object) -> MixtureOfHiddenDimensions:
    return MixtureOfHiddenDimensions(8, **options).double()


@identity("all groups on and the router undecided: the dense SwiGLU, exactly")
def dense() -> None:
    mixer = sparse(num_groups=4, num_shared=1, top_k=3)
    torch.nn.init.zeros_(mixer.router.weight)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    close("dense", mixer(x), mixer.inner(x), 1e-7)


@identity("masked = computed on the rows and columns of the groups that are on, alone")
def gathered() -> None:
    mixer = sparse(num_groups=4, num_shared=1, top_k=1, fusion=False)
    x = torch.randn(1, 9, 8, dtype=torch.float64)
    gates, inner = mixer.gates(x), mixer.inner
    for t in range(9):
        on = (gates[0, t] != 0).repeat_interleave(2)
        assert int(on.sum()) == 4, "half of the width"
        z: Tensor = (x[0, t] * gates[0, t].repeat_interleave(2) * 2**0.5)[on]
        hidden = silu(inner.gate.weight[:, on] @ z) * (inner.up.weight[:, on] @ z)
        expected = torch.zeros(8, dtype=torch.float64)
        expected[on] = inner.down.weight[on] @ hidden
        close(f"token {t}", mixer(x)[0, t], expected)


@identity("fusion starts as nothing and gives channels that are off what others at their place have")
def fusion() -> None:
    mixer = sparse(num_groups=4, num_shared=1, top_k=1)
    assert mixer.fusion is not None
    plain = sparse(num_groups=4, num_shared=1, top_k=1, fusion=False)
    weights = {k: v for k, v in mixer.state_dict().items() if "fusion" not in k}
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    reduces_to(mixer, plain, x, weights=weights, what="at the start")
    mixer.fusion.weight.data += 0.1 * torch.randn_like(mixer.fusion.weight)
    assert (plain(x) == 0).any() and (mixer(x) != 0).all()
    fused = torch.einsum("btgc,cgh->bthc", plain(x).unflatten(-1, (4, 2)), mixer.fusion.weight)
    close("fused", mixer(x), fused.flatten(-2))
