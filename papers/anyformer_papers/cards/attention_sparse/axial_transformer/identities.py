"""Identities of Axial Transformer, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.measures import close
from anyformer.mixers.sparse.axial import Axial
from anyformer.models import SequenceModel, create_model
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # a proxy: whether what lies rows above comes through the outer stack's columns
    task="wallpaper",
    arms={
        name: "[axial_decoder([axial(axis=1, causal=false, grid=6), "
        f"axial(axis={axis}, causal=true, grid=6)], [attention], columns=6)]"
        for name, axis in (("rows and columns", 0), ("rows only", 1))
    },
    options={"columns": 6, "rows": 8},
    smallest=0.1,
    steps=300,
    parameters=30_000,
    batch_size=16,
)


def image_model(depth: int = 1) -> SequenceModel:
    """A small one on images of 4 columns, in float64."""
    outer = "axial(axis=1, causal=false, grid=4), axial(axis=0, grid=4)"
    spec = (
        f"[axial_decoder([{outer}]*{depth}, [attention]*{depth}, columns=4)] dim=16 positions=axial(grid=4)"
    )
    return create_model(spec, vocab_size=7).double()


@identity("rows plus columns = lucidrains' AxialAttention")
def equals_peer() -> None:
    theirs = peer("axial_attention").AxialAttention(dim=16, num_dimensions=2, heads=4, dim_index=-1).double()
    image = torch.randn(2, 3, 5, 16, dtype=torch.float64)
    y = torch.zeros(2, 15, 16, dtype=torch.float64)
    for axis in (0, 1):
        ours = Axial(16, grid=5, axis=axis, positions="none", causal=False).double()
        attention = theirs.axial_attentions[axis].fn
        k, v = attention.to_kv.weight.chunk(2)
        weights = {"q": attention.to_q.weight, "k": k, "v": v, "out": attention.to_out.weight}
        ours.inner.load_state_dict({f"{name}.weight": weight for name, weight in weights.items()})
        y = y + ours(image.flatten(1, 2)) + attention.to_out.bias
    close("y", y.reshape_as(image), theirs(image))


@identity("an output depends on every pixel up to its own, and on none behind")
def autoregressive() -> None:
    model = image_model()
    x = torch.randn(1, 18, 16, dtype=torch.float64)

    def body(x: Tensor) -> Tensor:
        return model.body(x)[0].sum(-1)

    gradient = torch.autograd.functional.jacobian(body, x)[:, 0].abs().sum(-1)
    assert torch.equal(gradient > 1e-9, torch.ones(18, 18).tril().bool())


@identity("drawn pixel by pixel, with the outer stack run once a row, an image is that of full recomputation")
def semi_parallel() -> None:
    model = image_model(2).eval()
    rows: list[int] = []
    outer = model.body.get_submodule(
        "stack.sublayers.0.outer.residual.last"
    )  # runs as often as the outer stack
    outer.register_forward_hook(lambda *_: rows.append(1))
    draws = torch.rand(19, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image, state = torch.tensor([[3]]), model.init_state(1)
    whole = newest = image
    for draw in draws:
        logits, state = model.stream(newest, state)
        newest = _draw(logits[:, -1], draw)
        image = torch.cat([image, newest], 1)
    assert len(rows) == 4, "19 pixels begin four rows after the first"
    for draw in draws:
        whole = torch.cat([whole, _draw(model(whole)[:, -1], draw)], 1)
    assert torch.equal(image, whole)


def _draw(logits: Tensor, draw: Tensor) -> Tensor:
    """A token by inversion: the same for the same ``draw``."""
    return (logits.softmax(-1).cumsum(-1) < draw).sum(-1, keepdim=True).clamp_max(logits.shape[-1] - 1)
