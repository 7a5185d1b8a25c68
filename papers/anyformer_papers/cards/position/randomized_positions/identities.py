"""Identities of Randomised positional encodings, and its study."""

from __future__ import annotations

import itertools

import torch

from anyformer.contract import Call, Inputs
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import create_model
from anyformer.positions import create_position
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="copy",
    arms={
        "randomised": "[attention]*2 positions=randomized(scheme=rope, limit=256, longest=128)",
        "plain": "[attention]*2 positions=rope",
    },
    options={"length": 32},
    smallest=0.05,
    steps=600,
    times_longer=2,
)
SCHEMES = ("sinusoidal", "learned", "rope", "alibi", "shaw", "t5", "transformer_xl")


def inputs(T: int) -> Inputs:
    index = torch.arange(T)[None]
    return Inputs(None, index, index.double(), None, Call())


@identity("draws are ordered, different, in range, and every subset comes equally often")
def uniform() -> None:
    scheme = create_position("randomized", limit=6, dim=16, num_heads=2, head_dim=8).train()
    draws = [tuple(scheme.ids(inputs(3))[0].long().tolist()) for _ in range(4000)]
    subsets = list(itertools.combinations(range(6), 3))
    assert set(draws) == set(subsets)
    expected = len(draws) / len(subsets)
    chi_square = sum((draws.count(s) - expected) ** 2 / expected for s in subsets)
    assert chi_square < 43.8, f"chi-square {chi_square:.1f} of 19 degrees of freedom, 1 in 1000 is above 43.8"


@identity("a draw of n from n is the plain scheme, for seven schemes")
def all_numbers() -> None:
    x = torch.randint(10, (2, 20))
    for name in SCHEMES:
        inner = {"name": name, "max_length": 20} if name == "learned" else name
        options = {"scheme": inner, "limit": 20, "longest": 20}
        spec = {"layers": "[attention]*2", "dim": 16}
        plain = {"name": name, "options": {"max_length": 20} if name == "learned" else {}}
        drawn = create_model({**spec, "positions": {"name": "randomized", "options": options}}, vocab_size=10)
        fixed = create_model({**spec, "positions": plain}, vocab_size=10)
        weights = {k.replace(".inner.", "."): v for k, v in drawn.state_dict().items() if "order" not in k}
        fixed.load_state_dict(weights)
        for training in (True, False):
            close(name, drawn.train(training)(x), fixed.train(training)(x), 1e-6)


@identity("it is the plain scheme at the drawn places; layers share a draw, batches do not")
def places() -> None:
    scheme = {"name": "randomized", "scheme": "alibi", "limit": 64}
    mixers = [Attention(16, positions=scheme, causal=False).double().train() for _ in range(2)]
    x, call = torch.randn(2, 9, 16, dtype=torch.float64), Call()
    plain = Attention(16, positions="alibi", causal=False).double()
    for mixer in mixers:
        y = mixer(x, call=call)
        (drawn,) = call.shared.values()
        plain.load_state_dict({k: v for k, v in mixer.state_dict().items() if "positions" not in k})
        close("at the drawn places", y, plain(x, positions=drawn.expand(2, 9).double()), 1e-12)
    other = Call()
    mixers[0](x, call=other)
    assert not torch.equal(*(c.shared.popitem()[1] for c in (call, other)))
