"""Named models of text."""

from __future__ import annotations

import torch

from anyformer.models import create_model, load_spec
from anyformer.models.size import match_parameters


def test_gpt_is_a_transformer_with_convolutions_and_norms() -> None:
    """With taps that read the newest token alone, and with the norms of queries and keys taken out, it is one."""
    given = {"vocab_size": 7, "dim": 16, "depth": 2}
    gpt, plain = create_model("gpt", **given).double(), create_model("transformer", **given).double()
    for layer in gpt.body.stack.mixers[::2]:
        for conv in layer.convs.values():
            with torch.no_grad():
                conv.weight.zero_()
                conv.weight[:, -1] = 1
        layer.q_norm = layer.k_norm = None
    weights = {name: value for name, value in gpt.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(weights)
    x = torch.randint(7, (2, 12))
    torch.testing.assert_close(gpt(x), plain(x))
    assert gpt.num_parameters() > plain.num_parameters()


def test_gpt_streams_and_is_matched_in_size() -> None:
    model = create_model("gpt", vocab_size=7, dim=16).eval()
    x = torch.randint(7, (1, 9))
    state, parts = model.init_state(1), []
    for token in x.split(1, 1):
        y, state = model.stream(token, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), model(x), rtol=1e-4, atol=1e-5)
    sized = match_parameters(load_spec("gpt"), 40_000, vocab_size=256)
    assert abs(create_model(sized, vocab_size=256).num_parameters() / 40_000 - 1) <= 0.02
