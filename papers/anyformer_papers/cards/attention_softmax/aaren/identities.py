"""Identities of Aaren, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from anyformer.laws.checks import streams
from anyformer.laws.measures import close
from anyformer.mixers.softmax.aaren import Aaren
from anyformer.ops.attention import attention, merge
from anyformer.ops.softmax_scan import softmax_scan
from anyformer.state import state_bytes
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="fading",
    arms={"aaren": "[aaren]*2", "attention": "[attention]*2"},
    options={"length": 16},
    smallest=0.01,
    expect="no worse",
    steps=1200,
    parameters=30_000,
)


@identity(
    "the scan = the recurrence on (m, u, w) = PyTorch's attention of a constant query, huge scores included"
)
def three_forms() -> None:
    for size in (1.0, 400.0):
        s, v = (
            size * torch.randn(2, 3, 30, dtype=torch.float64),
            torch.randn(2, 3, 30, 4, dtype=torch.float64),
        )
        m, u = torch.full((2, 3), -torch.inf, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
        w, rows = torch.zeros(2, 3, 4, dtype=torch.float64), []
        for t in range(30):
            top = torch.maximum(m, s[..., t])
            old, new = (m - top).exp(), (s[..., t] - top).exp()
            m, u, w = top, u * old + new, w * old[..., None] + v[..., t, :] * new[..., None]
            rows.append(w / u[..., None])
        y, _ = softmax_scan(s, v)
        close("recurrence", y, torch.stack(rows, 2))
        one = torch.ones(2, 3, 30, 1, dtype=torch.float64)
        close("attention", y, scaled_dot_product_attention(one, s[..., None], v, is_causal=True, scale=1.0))


@identity("the operator is associative, on random triples of parts")
def associative() -> None:
    q = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    keys = [torch.randn(2, 3, n, 4, dtype=torch.float64) * 30 for n in (1, 7, 12)]
    a, b, c = (attention(q, k, k, return_lse=True) for k in keys)
    left, right = merge([merge([a, b]), c]), merge([a, merge([b, c])])
    close("outputs", left[0], right[0])
    close("log-sum-exps", left[1], right[1])
    whole = torch.cat(keys, 2)
    close("all keys at once", left[0], attention(q, whole, whole))


@identity(
    "token by token it gives what the scan does, and keeps as much after 200 tokens as before the first"
)
def constant_memory() -> None:
    mixer, x = Aaren(16).double(), torch.randn(2, 200, 16, dtype=torch.float64)
    state = streams(mixer, x)
    assert state_bytes(state) == state_bytes(mixer.init_state(2))
