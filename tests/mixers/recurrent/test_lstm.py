from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from anyformer.mixers import create_mixer


def test_both_directions_of_ragged_sentences_are_pytorchs() -> None:
    mixer = create_mixer("lstm", 6, causal=False).double()
    theirs = nn.LSTM(6, 3, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for direction, suffix in enumerate(("", "_reverse")):
            getattr(theirs, f"weight_ih_l0{suffix}").copy_(mixer.weight[direction])
            getattr(theirs, f"weight_hh_l0{suffix}").copy_(mixer.recurrent[direction])
            getattr(theirs, f"bias_ih_l0{suffix}").copy_(mixer.bias[direction])
            getattr(theirs, f"bias_hh_l0{suffix}").zero_()
    x, lengths = torch.randn(3, 9, 6, dtype=torch.float64), torch.tensor([9, 4, 1])
    packed, _ = theirs(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    mask = torch.arange(9) < lengths[:, None]
    torch.testing.assert_close(mixer(x, mask=mask), expected)


def test_errors() -> None:
    with pytest.raises(ValueError, match="global_context must be False with causal=True"):
        create_mixer("lstm", 8, global_context=True)
    with pytest.raises(ValueError, match="dim must be even with causal=False, got 7"):
        create_mixer("lstm", 7, causal=False)
