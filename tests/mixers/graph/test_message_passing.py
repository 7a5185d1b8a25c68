"""Message passing against a loop over the edges."""

from __future__ import annotations

import pytest
import torch

from anyformer import Call, create_mixer


@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_a_node_adds_up_its_neighbours(aggregate: str) -> None:
    torch.manual_seed(0)
    mixer = create_mixer("message_passing", 6, num_heads=2, num_kinds=3, aggregate=aggregate).double()
    torch.nn.init.normal_(mixer.kinds)
    torch.nn.init.normal_(mixer.own)
    x, edges = torch.randn(1, 5, 6, dtype=torch.float64), torch.randint(-2, 6, (1, 5, 5))
    v, rows = mixer.v(x)[0], []
    for t in range(5):
        total, count = torch.zeros(6, dtype=torch.float64), 0
        for s in range(5):
            if (
                kind := int(edges[0, t, s])
            ) > 0:  # paths are no edges; kinds beyond the third have its weight
                total += mixer.kinds[:, min(kind, 3) - 1].repeat_interleave(3) * v[s]
                count += 1
        total = total / max(count, 1) if aggregate == "mean" else total
        rows.append(total + (1 + mixer.own).repeat_interleave(3) * v[t])
    expected = mixer.out(torch.stack(rows))
    torch.testing.assert_close(mixer(x, call=Call(side={"edges": edges}))[0], expected)


def test_nodes_in_another_order_have_the_same_outputs() -> None:
    mixer, order = create_mixer("message_passing", 8).double(), torch.randperm(7)
    x, edges = torch.randn(2, 7, 8, dtype=torch.float64), torch.randint(-3, 4, (2, 7, 7))
    y = mixer(x, call=Call(side={"edges": edges}))
    other = mixer(x[:, order], call=Call(side={"edges": edges[:, order][:, :, order]}))
    torch.testing.assert_close(other, y[:, order])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"causal": True}, "causal=True is not possible for message_passing"),
        ({"aggregate": "max"}, "aggregate must be one of sum, mean; got 'max'"),
        ({"num_kinds": 0}, "num_kinds must be at least 1"),
        ({"num_heads": 3}, "num_heads must divide dim=8"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("message_passing", 8, **options)
