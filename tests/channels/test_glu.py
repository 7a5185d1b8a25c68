"""The first gated linear unit is PyTorch's."""

from __future__ import annotations

import torch

from anyformer.channels import create_channel
from anyformer.laws.measures import close


def test_the_first_glu_is_pytorchs() -> None:
    glu = create_channel("glu", 8, hidden_dim=6)
    glu.down = torch.nn.Identity()
    x = torch.randn(2, 3, 8)
    both = torch.cat([glu.up(x), glu.gate(x)], -1)
    close("glu", glu(x), torch.nn.functional.glu(both), 1e-6)
