"""States as pytrees of tensors."""

from __future__ import annotations

import pytest
import torch

from anyformer.state import detach, leaves, map_state, select_rows, state_bytes, where_rows


def test_states_are_pytrees() -> None:
    state = {"a": torch.ones(2, 3), "b": [torch.zeros(2), (torch.ones(2, 1),)]}
    assert state_bytes(state) == 4 * (6 + 2 + 2)
    assert len(leaves(state)) == 3
    picked = select_rows(state, torch.tensor([1, 1, 0]))
    assert picked["a"].shape == (3, 3)
    assert isinstance(picked["b"][1], tuple)
    tracked = map_state(lambda t: t.clone().requires_grad_(), state)
    assert not any(t.requires_grad for t in leaves(detach(tracked)))
    with pytest.raises(ValueError, match="got str"):
        map_state(lambda t: t, {"a": "text"})


def test_where_rows_pads_the_shorter_cache_in_front() -> None:
    short, long = {"k": torch.ones(2, 1, 3)}, {"k": torch.full((2, 4, 3), 2.0)}
    picked = where_rows(torch.tensor([True, False]), short, long)["k"]
    assert picked[0, :, 0].tolist() == [0, 0, 0, 1]
    assert picked[1, :, 0].tolist() == [2, 2, 2, 2]
