"""Identities of Reverse positional encoding, and its study."""

from __future__ import annotations

import torch

from anyformer.contract import Call, Inputs
from anyformer.laws.measures import close, expect_error
from anyformer.models import create_model
from anyformer.positions import create_position
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="fading",
    arms={
        "reverse": "[attention]*2 positions=reverse causal=false",
        "forward": "[attention]*2 positions=sinusoidal causal=false",
    },
    options={"length": 16},
    smallest=0.01,
    steps=300,
    times_longer=2,
)


def inputs(T: int, mask: torch.Tensor | None = None) -> Inputs:
    index = torch.arange(T)[None]
    return Inputs(mask, index, index.double(), None, Call())


@identity("it is the sinusoidal table, flipped")
def flipped() -> None:
    zero = torch.zeros(1, 9, 16, dtype=torch.float64)
    table = create_position("sinusoidal", dim=16, num_heads=1, head_dim=16).embed(zero, inputs(9).positions)
    scheme = create_position("reverse", dim=16, num_heads=1, head_dim=16)
    close("flip", scheme.embed(zero, scheme.ids(inputs(9))), table.flip(1), 1e-15)


@identity("the last observations have the same codes in every window, also in a batch padded to one length")
def any_length() -> None:
    scheme = create_position("reverse", dim=16, num_heads=1, head_dim=16)
    zero = torch.zeros(1, 30, 16, dtype=torch.float64)
    longest = scheme.embed(zero, scheme.ids(inputs(30)))
    for length in (5, 17):
        codes = scheme.embed(zero[:, :length], scheme.ids(inputs(length)))
        close(f"window of {length}", codes, longest[:, -length:], 1e-15)
        padded = scheme.ids(inputs(30, torch.arange(30)[None] < length))
        close(f"padded window of {length}", padded[:, :length], scheme.ids(inputs(length)), 0.0)


@identity(
    "a window longer by observations that are nowhere to be seen gives the same forecast; forward numbers do not"
)
def same_forecast() -> None:
    x = torch.randn(1, 12, 3, dtype=torch.float64)
    longer = torch.cat([torch.zeros(1, 8, 3, dtype=torch.float64), x], 1)
    place = torch.arange(20, dtype=torch.float64)[None]
    for name, same in (("reverse", True), ("sinusoidal", False)):
        spec = {"layers": "[attention]*2", "dim": 16, "causal": False, "positions": name}
        model = create_model(spec, num_features=3, num_outputs=2, pool="last").double()
        window = model(x)
        # the same observations at the end of a longer window
        late = model(longer, mask=torch.arange(20)[None] >= 8, positions=place)
        apart = float((window - late).abs().max().detach())
        assert (apart < 1e-12) == same, f"{name}: {apart}"


@identity("a causal model with it is refused, as it could not stream")
def refused() -> None:
    for spec in ("[attention]*2 positions=reverse", "[attention(positions=reverse(scheme=alibi))]*2"):
        expect_error(spec, "causal", lambda spec=spec: create_model(spec, vocab_size=8))
