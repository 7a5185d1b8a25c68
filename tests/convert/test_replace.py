"""Errors of replacing a sublayer."""

from __future__ import annotations

import pytest
import torch

from anyformer.convert.replace import record_sublayer, replace_sublayer
from anyformer.mixers import create_mixer
from anyformer.models import create_model


def test_errors() -> None:
    model = create_model("[attention] dim=16", vocab_size=5)
    with pytest.raises(ValueError, match="sublayer must be 0 to 1, got 2"):
        record_sublayer(model, 2, torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="mixer must have width 16, got 8"):
        replace_sublayer(model, 0, create_mixer("pooling", 8))


def test_another_mixer_is_used() -> None:
    model, x = create_model("[attention] dim=16", vocab_size=5), torch.randint(0, 5, (2, 6))
    before = model(x)
    replace_sublayer(model, 0, create_mixer("pooling", 16))
    assert not torch.allclose(model(x), before)
