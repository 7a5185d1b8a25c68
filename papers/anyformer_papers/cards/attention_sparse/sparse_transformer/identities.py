"""Identities of Sparse Transformer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import equal_with_gradients, from_heads, heads_of
from anyformer.laws.measures import close
from anyformer.mixers.sparse.sparse_attention import SparseAttention
from anyformer.models import create_model
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a period that two windows of as many keys do not span
    task="wallpaper",
    arms={
        "strided": "[sparse_attention(stride=6)]*2",
        "window": "[attention(window=13)]*2",
    },
    options={"columns": 6, "rows": 8},
    smallest=0.05,
    steps=300,
    parameters=30_000,
    batch_size=16,
)


def visible(T: int, **options: object) -> torch.Tensor:
    """(T, T) bool: what the one pattern of a layer lets be seen."""
    index = torch.arange(T)[None]
    ((_, spec),) = SparseAttention.Options.read(options).branches()[0]
    return spec.dense(index, index)[0]


@identity(
    "two factors reach every causal pair with about 2 n sqrt(n) keys in sight; fixed: the local one first"
)
def two_steps_connect_all() -> None:
    n, stride, c = 256, 16, 2
    every = torch.ones(n, n).tril().bool()
    local, far = (visible(n, stride=stride, part=part) for part in ("local", "far"))
    for first, second in ((local, far), (far, local)):
        assert torch.equal((second.float() @ first.float()) > 0, every)
    assert int(local.sum() + far.sum()) < 2 * n * stride
    local, far = (visible(n, pattern="fixed", stride=stride, summary=c, part=p) for p in ("local", "far"))
    stays = torch.eye(n, dtype=torch.bool)
    assert torch.equal(((far | stays).float() @ local.float()) > 0, every)
    assert int((~((local.float() @ (far | stays).float()) > 0) & every).sum()) > 0, "not the other way round"
    assert int(local.sum() + far.sum()) < n * stride * (1 + c)


@identity("forward and backward = dense attention under the mask, heads with patterns of their own included")
def dense() -> None:
    T, options = 37, {"pattern": "fixed", "stride": 6, "summary": 2, "part": "heads", "subblocks": 2}
    mixer = SparseAttention(16, positions="none", **options).double()
    i, j = torch.arange(T)[:, None], torch.arange(T)
    own = (i // 6 == j // 6) & (j <= i)
    last, before = ((j % 6 // 2 == place) & (j <= i) for place in (2, 1))
    seen = torch.stack([own, own, last, before])
    x = torch.randn(2, T, 16, dtype=torch.float64, requires_grad=True)
    q, k, v = heads_of(mixer, x)
    expected = from_heads(mixer, attention(q, k, v, visible=seen))
    equal_with_gradients("y", mixer(x), expected, (x, *mixer.parameters()))


@identity("output matrices start 1 / sqrt(2 N) smaller, so that the stream does not grow with depth")
def start() -> None:
    found = []
    for scaled in (False, True):
        torch.manual_seed(0)
        found.append(create_model("sparse_transformer", vocab_size=9, depth=8, scaled_init=scaled))
    for last in ("2.out", "3.down"):
        plain, small = (m.get_parameter(f"body.stack.sublayers.{last}.weight") for m in found)
        close(last, small, plain / 16**0.5, 1e-6)
