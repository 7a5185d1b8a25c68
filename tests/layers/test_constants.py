"""Constants are outside the state dict, and right after to_empty, loading, copying and pickling."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import torch
from torch import Tensor, nn

from anyformer.layers.constants import register_constant


def squares(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32).square()


class Scaled(nn.Module):
    """A module with a weight and a constant."""

    squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        register_constant(self, "squares", partial(squares, 4))


def test_it_is_right_after_loading_into_empty_memory() -> None:
    with torch.device("meta"):
        module = Scaled()
    assert module.squares.is_meta
    assert set(module.state_dict()) == {"weight"}
    module = module.to_empty(device="cpu")
    module.squares.fill_(torch.nan)
    module.load_state_dict({"weight": torch.zeros(4)})
    assert torch.equal(module.squares, squares(4))


def test_it_keeps_its_dtype_and_survives_copies() -> None:
    module = Scaled().double()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        other.squares.zero_()
        other.load_state_dict(module.state_dict())
        assert torch.equal(other.squares, squares(4).double())
