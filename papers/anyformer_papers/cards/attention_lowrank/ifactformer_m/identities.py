"""IFactFormer-m."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.inputs import Layout
from anyformer.layers.linear import Linear
from anyformer.mixers.factorized_attention import FactorizedAttention, _instance_norm
from anyformer.models import create_model
from anyformer.testing.measures import close
from anyformer_papers.card import Card
from anyformer_papers.study import Study

card = Card(
    slug="ifactformer-m",
    what="A neural operator for turbulent flow: attention of a grid as one kernel for each axis, made from the field's "
    "means over the other axes; the kernels act on the values side by side, not one after the other; and one such "
    "block, its weights shared, is iterated by small steps.",
    parts=(
        "mixer factorized_attention",
        "position learnable_fourier",
        "model ifactformer",
        "task vortices",
    ),
    differs="y = [A_1 v, A_2 v, A_3 v] W, a Kronecker sum with output weights of its own for each axis; FactFormer has "
    "A_1 A_2 A_3 v, a Kronecker product. Axial attention has a softmax of its own in every line, where here all lines "
    "of an axis share a kernel that has none.",
    followed="code",
    notes="The released block was run beside this mixer, both forms, under the same weights: equal to its float32 "
    "frequencies. Its two linear maps before the means are one here. It iterates one block 10 times by steps of "
    "1 / 10 (the spec's tag and pattern), as here, after a linear map of random Fourier features, learned here. Its "
    "places are lengths times 64, ours numbers of cells. FactFormer's own code applies the instance norm with axes "
    "in another order; this one's rearranges them.",
    claim="The parallel form predicts a flow better than the chained one: channel flow at friction Reynolds "
    "numbers of about 180, 395 and 590 keeps its statistics over long rollouts, where the chained form, "
    "FNO and implicit FNO fail.",
    study=Study(  # one step of a flow in two dimensions
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
    ),
)


def field(form: str) -> tuple[FactorizedAttention, Tensor, list[Tensor], Tensor]:
    """A mixer on 5 x 3 x 4 cells, an input, its kernels and its values (B, H, T, K)."""
    mixer = FactorizedAttention(16, grid="3x4", form=form).double()
    for name, p in mixer.named_parameters():
        if name.endswith((".q.weight", ".k.weight")):
            p.data = torch.randn_like(p) / 4
    x = torch.randn(2, 60, 16, dtype=torch.float64)
    normed = mixer.in_norm(x)
    inputs = Layout.of(x, None).inputs(None, None, None, None, torch.float64)
    return mixer, x, mixer.axis_kernels(normed, inputs), mixer.v(normed).unflatten(2, (4, 4)).transpose(1, 2)


def finish(mixer: FactorizedAttention, y: Tensor) -> Tensor:
    """From values (B, H, T, K) to the output."""
    y = y.transpose(1, 2).flatten(2)
    y = _instance_norm(y, Layout.of(y, None).inputs(None, None, None, None, torch.float64))
    return mixer.out(torch.nn.functional.gelu(mixer.mix(y)))


def kron(*matrices: Tensor) -> Tensor:
    """The Kronecker product, for each sample and head."""
    product = matrices[0]
    for m in matrices[1:]:
        product = torch.einsum("bhij,bhkl->bhikjl", product, m).flatten(4).flatten(2, 3)
    return product


@card.exact("chained, it is one attention matrix on the flattened field: the kernels' Kronecker product")
def chained() -> None:
    mixer, x, kernels, v = field("chained")
    close("y", mixer(x), finish(mixer, kron(*kernels) @ v))


@card.exact("parallel, it is a matrix for each axis that leaves the others alone, their results side by side")
def parallel() -> None:
    mixer, x, kernels, v = field("parallel")
    parts = []
    for axis, kernel in enumerate(kernels):
        ones = [torch.eye(n, dtype=torch.float64).expand(2, 4, n, n) for n in (5, 3, 4)]
        ones[axis] = kernel
        parts.append(kron(*ones) @ v)
    close("y", mixer(x), finish(mixer, torch.cat(parts, -1)))


@card.exact("iterated L times it is z + f(z) / L, L times over, at as many parameters as once")
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
