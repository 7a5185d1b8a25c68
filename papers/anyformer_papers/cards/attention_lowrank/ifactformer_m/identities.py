"""Identities of IFactFormer-m, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.checks import inputs_of
from anyformer.laws.measures import close
from anyformer.layers.linear import Linear
from anyformer.mixers.low_rank.factorized_attention import FactorizedAttention, _instance_norm
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # one step of a flow in two dimensions
    task="vortices",
    arms={
        form: f"[factorized_attention@a(grid=8, form={form})]*4 channel=none pattern=mixer/4 norm=none "
        "positions=learnable_fourier(axes=2, grid=8) causal=false"
        for form in ("parallel", "chained")
    },
    smallest=0.02,
    steps=300,
    parameters=28_160,
    batch_size=16,
)


def field(form: str) -> tuple[FactorizedAttention, Tensor, list[Tensor], Tensor]:
    """A mixer on 5 x 3 x 4 cells, an input, its kernels and its values (B, H, T, K)."""
    mixer = FactorizedAttention(16, grid="3x4", form=form).double()
    for name, p in mixer.named_parameters():
        if name.endswith((".q.weight", ".k.weight")):
            p.data = torch.randn_like(p) / 4
    x = torch.randn(2, 60, 16, dtype=torch.float64)
    normed = mixer.in_norm(x)
    return (
        mixer,
        x,
        mixer.axis_kernels(normed, inputs_of(x)),
        mixer.v(normed).unflatten(2, (4, 4)).transpose(1, 2),
    )


def finish(mixer: FactorizedAttention, y: Tensor) -> Tensor:
    """From values (B, H, T, K) to the output."""
    y = y.transpose(1, 2).flatten(2)
    y = _instance_norm(y, inputs_of(y))
    return mixer.out(torch.nn.functional.gelu(mixer.mix(y)))


def kron(*matrices: Tensor) -> Tensor:
    """The Kronecker product, for each sample and head."""
    product = matrices[0]
    for m in matrices[1:]:
        product = torch.einsum("bhij,bhkl->bhikjl", product, m).flatten(4).flatten(2, 3)
    return product


@identity("chained, it is one attention matrix on the flattened field: the kernels' Kronecker product")
def chained() -> None:
    mixer, x, kernels, v = field("chained")
    close("y", mixer(x), finish(mixer, kron(*kernels) @ v))


@identity("parallel, it is a matrix for each axis that leaves the others alone, their results side by side")
def parallel() -> None:
    mixer, x, kernels, v = field("parallel")
    parts = []
    for axis, kernel in enumerate(kernels):
        ones = [torch.eye(n, dtype=torch.float64).expand(2, 4, n, n) for n in (5, 3, 4)]
        ones[axis] = kernel
        parts.append(kron(*ones) @ v)
    close("y", mixer(x), finish(mixer, torch.cat(parts, -1)))


@identity("iterated L times it is z + f(z) / L, L times over, at as many parameters as once")
def implicit() -> None:
    sizes = []
    for depth in (1, 2, 8):
        model = create_model("ifactformer", vocab_size=7, depth=depth, dim=16).double()
        sizes.append(model.num_parameters())
        tokens = torch.randint(7, (2, 32))
        block = model.body.get_submodule("stack.sublayers.0")
        positions = model.body.embed
        assert positions is not None
        z = positions.embed(model.embed(tokens), torch.arange(32.0).double().expand(2, 32))
        for _ in range(depth):
            z = z + block(z) / depth
        head = model.head
        assert isinstance(head, Linear)
        close(f"L = {depth}", model(tokens), head(z))
    assert len(set(sizes)) == 1
