"""Stacks side by side."""

from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call
from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer
from anyformer.models import create_model
from anyformer.stack import Stack
from anyformer.wrappers.beside import Beside


def stack(name: str, dim: int = 8, **options: object) -> Stack:
    return Stack(dim, [[create_mixer(name, dim, **options)]], norm="none")


def test_laws() -> None:
    assert check_mixer(lambda: Beside(8, stack("attention", window=3), stack("mamba", state_dim=3)))
    assert check_mixer(
        lambda: Beside(8, stack("attention", causal=False), stack("conv_module", group_size=2))
    )


def test_is_the_sum_of_mixers() -> None:
    wrapper = Beside(8, stack("attention"), stack("retention")).double()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    mixers = [part.mixers[0] for part in wrapper.stacks]
    torch.testing.assert_close(wrapper(x), mixers[0](x) + mixers[1](x))


def test_reaches_as_far_as_the_farthest() -> None:
    near, far = stack("attention", window=3), stack("attention", window=6)
    assert Beside(8, near, far).info.reach == (5, 0)
    assert Beside(8, near, stack("mamba")).info.reach == (None, 0)
    assert Beside(8, near, stack("attention", causal=False)).info.reach == (None, None)


def test_attention_beside_a_state_space_in_a_spec() -> None:
    model = create_model("[beside([attention], [mamba])]*2", vocab_size=5, dim=16)
    assert model.body.info.causal
    names = [type(part).__name__ for part in model.body.stack.mixers]
    assert names == ["Beside", "SwiGLU", "Beside", "SwiGLU"]
    assert [len(part.mixers) for part in model.body.stack.mixers[0].stacks] == [1, 1]
    changed = create_model("[beside([attention(channel=mlp)], [mamba], channel=none)]", vocab_size=5, dim=16)
    assert len(changed.body.stack.mixers) == 1
    assert [len(part.mixers) for part in changed.body.stack.mixers[0].stacks] == [2, 1]


def test_message_passing_beside_attention_sees_edges_and_all_nodes() -> None:
    """In gps a node depends on one without a path to it, which message passing alone never shows."""
    x, edges = torch.tensor([[1, 2, 3, 4]]), torch.zeros(1, 4, 4, dtype=torch.int64)
    edges[0, 0, 1] = edges[0, 1, 0] = 1
    other = torch.tensor([[1, 2, 3, 0]])

    def differs(line: str, first: torch.Tensor, second: torch.Tensor) -> bool:
        torch.manual_seed(0)
        model = create_model(line, vocab_size=5, dim=16).eval()

        y, z = (model(tokens, call=Call(side={"edges": e})) for tokens, e in ((x, edges), (first, second)))
        return not torch.allclose(y[:, 0], z[:, 0])

    assert differs("gps", other, edges) and not differs("gin", other, edges)
    assert differs("gps", x, edges * 0) and differs("gin", x, edges * 0)


def test_refused() -> None:
    with pytest.raises(
        ValueError, match=r"beside needs two or more stacks, such as beside\(\[a\], \[b\]\), got 1"
    ):
        Beside(8, stack("attention"))
