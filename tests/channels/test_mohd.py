"""The load-balance loss of a mixture of hidden dimensions."""

from __future__ import annotations

import torch

from anyformer.channels import create_channel
from anyformer.contract import Call
from anyformer.laws.measures import close


def test_the_balance_of_hidden_dimensions_counts_real_tokens_only() -> None:
    mixer, x = create_channel("mohd", 16).train(), torch.randn(2, 6, 16)
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    losses = []
    for given in (x, x.masked_fill(~mask[..., None], 9.0)):
        call = Call()
        mixer(given, mask=mask, call=call)
        losses.append(call.losses["load_balance"])
    close("loss", losses[1], losses[0])
