"""Attention with biases by edges and paths, against a loop over pairs."""

from __future__ import annotations

import pytest
import torch

from anyformer import Call, create_mixer


def test_scores_have_a_bias_for_what_relates_two_nodes() -> None:
    torch.manual_seed(0)
    mixer = create_mixer("graph_attention", 8, num_heads=2, num_kinds=2, max_distance=3).double()
    torch.nn.init.normal_(mixer.bias)
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    edges = torch.tensor([-5, -4, -3, -2, 0, 1, 2, 3, 4])[torch.randint(9, (1, 6, 6))]
    q, k, v = (layer(x)[0].view(6, 2, 4) for layer in (mixer.q, mixer.k, mixer.v))
    heads = []
    for h in range(2):
        nothing, itself, first, second, far_2, far_3 = mixer.bias[h]
        relations = {1: first, 2: second, 3: second, 4: second, -2: far_2, -3: far_3, -4: far_3, -5: far_3}
        scores = q[:, h] @ k[:, h].T / 2
        bias = [
            [relations.get(int(edges[0, t, s]), itself if t == s else nothing) for s in range(6)]
            for t in range(6)
        ]
        heads.append((scores + torch.stack([torch.stack(row) for row in bias])).softmax(-1) @ v[:, h])
    expected = mixer.out(torch.cat(heads, -1))
    torch.testing.assert_close(mixer(x, call=Call(side={"edges": edges}))[0], expected)


def test_heads_begin_with_neighbourhoods_of_their_own_width() -> None:
    bias = create_mixer("graph_attention", 8, num_kinds=2, max_distance=3).bias
    expected = [[-8, 0, -2, -2, -4, -6], [-4, 0, -1, -1, -2, -3], [-2, 0, -0.5, -0.5, -1, -1.5]]
    assert bias.tolist() == [*expected, [-1, 0, -0.25, -0.25, -0.5, -0.75]]


def test_nodes_in_another_order_have_the_same_outputs() -> None:
    mixer, order = create_mixer("graph_attention", 8).double(), torch.randperm(7)
    torch.nn.init.normal_(mixer.bias)
    x, edges = torch.randn(2, 7, 8, dtype=torch.float64), torch.randint(-3, 4, (2, 7, 7))
    y = mixer(x, call=Call(side={"edges": edges}))
    other = mixer(x[:, order], call=Call(side={"edges": edges[:, order][:, :, order]}))
    torch.testing.assert_close(other, y[:, order])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"causal": True}, "causal=True is not possible for graph_attention"),
        ({"max_distance": 1}, "max_distance must be at least 2, got 1"),
        ({"num_kinds": 0}, "num_kinds must be at least 1"),
        ({"num_heads": 3}, "num_heads must divide dim=8"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("graph_attention", 8, **options)
