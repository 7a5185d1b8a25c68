"""Whole models beside those of other libraries."""

from __future__ import annotations

import pytest

from anyformer.bench import models


def test_llama_shapes_agree() -> None:
    pytest.importorskip("transformers")
    peer = models.transformers_llama(16, 16, 1, 2)
    assert models.from_hf(peer).num_parameters() == sum(p.numel() for p in peer.parameters())
