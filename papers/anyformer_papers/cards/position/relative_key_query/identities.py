"""Identities of Better relative position embeddings, M1 to M4, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.positions.relative import Relative
from anyformer.positions.shaw import Shaw
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # what has been learned of copying after few steps
    task="copy",
    arms={
        "m4": "[attention]*2 positions=relative(form=m4)",
        "shaw, keys": "[attention]*2 positions=shaw(values=false)",
    },
    options={"length": 32},
    smallest=0.05,
    steps=400,
    seeds=8,
)
REACH = 3


def scores(form: str, q: torch.Tensor, k: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """One pair after the other, channel by channel."""
    T, K = q.shape[2:]
    y = torch.zeros(*q.shape[:3], T, dtype=q.dtype)
    for i in range(T):
        for j in range(T):
            c = max(-REACH, min(REACH, j - i))
            a = table[abs(c)] if form == "m1" else table[c + REACH]
            for d in range(K):
                left, right = q[:, :, i, d], k[:, :, j, d]
                if form == "m4":
                    y[:, :, i, j] += left * right + left * a[d] + right * a[d]
                else:
                    y[:, :, i, j] += left * right * a[d if form == "m3" else 0]
    return y * K**-0.5


@identity("the four forms, pair by pair and channel by channel")
def loops() -> None:
    q, k = (torch.randn(2, 2, 9, 4, dtype=torch.float64) for _ in range(2))
    place = torch.arange(9, dtype=torch.float64).expand(2, 9)
    for form in ("m1", "m2", "m3", "m4"):
        scheme = Relative(8, 2, 4, form=form, reach=REACH).double()
        term = scheme.score(q, k, place, place)
        close(form, q @ k.mT * 4**-0.5 + term, scores(form, q, k, scheme.table.detach()), 1e-12)


@identity("a = 1 in M1 to M3, and a = 0 in M4, is attention without positions")
def plain() -> None:
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    none = Attention(16, positions="none", causal=False).double()
    for form in ("m1", "m2", "m3", "m4"):
        mixer = Attention(16, positions={"name": "relative", "form": form}, causal=False).double()
        assert isinstance(mixer.positions, Relative)
        table = torch.full_like(mixer.positions.table, float(form != "m4"))
        weights = {**none.state_dict(), "positions.table": table}
        reduces_to(none, mixer, x, weights=weights, what=form, tolerance=1e-12)


@identity("M4 is Shaw's term of keys and the mirrored term of queries, and M1 is M2 with an even table")
def relations() -> None:
    q, k = (torch.randn(2, 2, 9, 4, dtype=torch.float64) for _ in range(2))
    place = torch.rand(2, 9, dtype=torch.float64).cumsum(1) * 5  # places need not be whole numbers
    m1, m2, m4 = (Relative(8, 2, 4, form=f, reach=REACH).double() for f in ("m1", "m2", "m4"))
    shaw = Shaw(8, 2, 4, reach=REACH).double()
    with torch.no_grad():
        shaw.on_keys.copy_(m4.table)
        m2.table.copy_(torch.cat([m1.table[1:].flip(0), m1.table]))
    of_queries = shaw.score(q, k, place, place)
    shaw.on_keys.data = shaw.on_keys.data.flip(0)  # seen from the key, distances change sign
    of_keys = shaw.score(k, q, place, place)
    close("M4", m4.score(q, k, place, place), of_queries + of_keys.mT, 1e-12)
    close("M1", m1.score(q, k, place, place), m2.score(q, k, place, place), 1e-12)
