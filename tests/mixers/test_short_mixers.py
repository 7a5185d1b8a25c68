"""What short mixers over the past say when asked for what they cannot be."""

from __future__ import annotations

import pytest
import torch

from anyformer.channels import create_channel
from anyformer.contract import Call
from anyformer.laws.measures import close
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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("emoe", {"num_experts": 7}, "num_experts must divide the 64 hidden units, got 7"),
        ("emoe", {"top_k": 9}, "top_k must be between 1 and num_experts=8, got 9"),
        ("mohd", {"num_groups": 5}, "num_groups must divide dim=16, got 5"),
        (
            "mohd",
            {"num_groups": 4, "num_shared": 2, "top_k": 3},
            "together at most num_groups=4, got 2 and 3",
        ),
    ],
)
def test_channel_errors(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_channel(name, 16, **options)


def test_the_balance_of_hidden_dimensions_counts_real_tokens_only() -> None:
    mixer, x = create_channel("mohd", 16).train(), torch.randn(2, 6, 16)
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    losses = []
    for given in (x, x.masked_fill(~mask[..., None], 9.0)):
        call = Call()
        mixer(given, mask=mask, call=call)
        losses.append(call.losses["load_balance"])
    close("loss", losses[1], losses[0])
