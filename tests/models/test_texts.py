"""Named models of text."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from anyformer.models import create_model, load_spec
from anyformer.models.size import count_parameters, match_parameters


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


@pytest.mark.parametrize("name", ["gpt", "ngram_gpt"])
def test_they_stream_and_are_matched_in_size(name: str) -> None:
    model = create_model(name, vocab_size=7, dim=16).eval()
    x = torch.randint(7, (1, 9))
    state, parts = model.init_state(1), []
    for token in x.split(1, 1):
        y, state = model.stream(token, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), model(x), rtol=1e-4, atol=1e-5)
    sized = match_parameters(load_spec(name), 40_000, vocab_size=256)
    assert abs(count_parameters(sized, vocab_size=256) / 40_000 - 1) <= 0.02


def test_ngram_gpt_learns_counts_that_a_gpt_of_its_size_does_not() -> None:
    """Random trigrams, in 60 steps: the tables hold what follows each pair of tokens."""
    torch.manual_seed(0)
    after, x = torch.randint(16, (16, 16)), torch.randint(16, (64, 24))
    for t in range(2, 24):
        x[:, t] = torch.where(torch.rand(64) < 0.9, after[x[:, t - 2], x[:, t - 1]], x[:, t])
    losses = {}
    for name in ("gpt", "ngram_gpt"):
        model = create_model(name, vocab_size=16, dim=16)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(60):
            y = model(x[step % 4 * 8 :][:8, :-1])
            loss = cross_entropy(y.flatten(0, 1), x[step % 4 * 8 :][:8, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            losses[name] = float(cross_entropy(model.eval()(x[32:, :-1]).flatten(0, 1), x[32:, 1:].flatten()))
    assert losses["ngram_gpt"] < losses["gpt"] - 0.2
