"""What short mixers over the past say when asked for what they cannot be."""

from __future__ import annotations

import pytest

from anyformer.mixers import create_mixer


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("extractor", {"causal": False}, "causal=False is not possible for extractor"),
        ("extractor", {"weights": "vectr"}, "unknown weights 'vectr'; did you mean 'vector'"),
        ("extractor", {"context_len": 1}, "context_len must be at least 2, got 1"),
        ("gated_associative_memory", {"causal": False}, "causal=False is not possible"),
        ("gated_associative_memory", {"num_slots": 0}, "num_slots must be at least 1"),
        ("conv_module", {"group_size": 3}, "group_size must divide dim=16, got 3"),
        ("conv_module", {"kernel": 4, "causal": False}, "kernel must be odd with causal=False"),
        ("ponet", {"causal": True}, "causal=True is not possible for ponet"),
        ("ponet", {"local_window": 2}, "local_window odd, got 16 and 2"),
        ("tokenformer", {"score": "relu"}, "unknown score 'relu'"),
        ("memoryformer", {"bits": 3}, "bits must be 1 to 16 and divide 16 features, got 3"),
    ],
)
def test_errors(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer(name, 16, **options)
