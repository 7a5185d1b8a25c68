"""Members of a set in a prompt: streamed, in windows, and padded."""

from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call
from anyformer.mixers import create_mixer
from anyformer.positions import set_prompt


def test_parts_of_a_set_under_streaming_windows_and_padding() -> None:
    place, part = set_prompt(2, [3, 1, 4], 3)
    x = torch.randn(2, 13, 16, dtype=torch.float64)
    side = {"part": part.expand(2, -1)}
    for options in ({}, {"window": 4}, {"positions": "shaw"}, {"positions": "alibi", "num_kv_heads": 1}):
        mixer = create_mixer("attention", 16, **options).double()
        whole = mixer(x, positions=place.expand(2, -1), call=Call(side=side))
        state, pieces = mixer.init_state(2), []
        for cut in (slice(0, 1), slice(1, 6), slice(6, 13)):
            inputs = {
                "positions": place[:, cut].expand(2, -1),
                "call": Call(side={"part": side["part"][:, cut]}),
            }
            y, state = mixer.stream(x[:, cut], state, **inputs)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, 1), whole)
        mask = torch.arange(20) >= 7
        late = torch.cat([x.new_zeros(2, 7, 16), x], 1)
        ids = torch.cat([torch.zeros(1, 7), place], 1).expand(2, -1)
        parts = torch.cat([torch.zeros(2, 7, dtype=torch.int64), side["part"]], 1)
        padded = mixer(late, mask=mask.expand(2, -1), positions=ids, call=Call(side={"part": parts}))
        torch.testing.assert_close(padded[:, 7:], whole)
    with pytest.raises(ValueError, match="lengths must not be negative, got -1"):
        set_prompt(-1, [2], 1)
