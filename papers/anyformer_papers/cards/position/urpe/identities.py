"""Identities of URPE, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import perturb, reduces_to
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import create_model
from anyformer.positions.urpe import Urpe
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # what has been learned of copying after few steps
    task="copy",
    arms={
        "urpe": "[attention]*2 positions=urpe(scheme=t5)",
        "t5": "[attention]*2 positions=t5",
    },
    options={"length": 32},
    smallest=0.05,
    steps=400,
    seeds=8,
)


@identity(
    "equal tokens get equal outputs at any depth, whatever stands inside the softmax; with c they do not"
)
def universal() -> None:
    for scheme in ("rope", "alibi", "t5", "fire", "transformer_xl", {"name": "relative", "form": "m3"}):
        for outside in (False, True):
            part = {"name": "urpe", "scheme": scheme} if outside else scheme
            layer = {"name": "attention", "options": {"positions": part}}
            model = create_model({"layers": [layer] * 3, "dim": 16}, vocab_size=4).double()
            perturb(model, 1.0, lambda name: name.endswith("factor"))
            y = model(torch.full((1, 20), 2))
            if outside:
                assert float((y - y[:, :1]).abs().max().detach()) > 1e-3, scheme
            else:
                close(f"{scheme}", y, y[:, :1].expand_as(y), 1e-12)


@identity("c = 1 is the scheme alone")
def ones() -> None:
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    plain = Attention(16, positions="t5", causal=False).double()
    both = Attention(16, positions={"name": "urpe", "scheme": "t5"}, causal=False).double()
    weights = {k.replace("positions.", "positions.inner."): v for k, v in plain.state_dict().items()}
    reduces_to(plain, both, x, weights=weights, strict=False, tolerance=1e-12)


@identity("the formula, pair by pair")
def pairs() -> None:
    T, reach = 9, 3
    scheme = Urpe(8, 2, 4, scheme="none", reach=reach).double()
    c = torch.randn(2, 2 * reach + 1, dtype=torch.float64)
    scheme.factor.data = c
    p, place = torch.rand(1, 2, T, T, dtype=torch.float64), torch.arange(T, dtype=torch.float64)[None]
    weights, _ = scheme.weigh(p, place, place)
    for i in range(T):
        for j in range(T):
            expected = p[0, :, i, j] * c[:, max(-reach, min(reach, j - i)) + reach]
            close("c", weights[0, :, i, j], expected, 1e-15)
