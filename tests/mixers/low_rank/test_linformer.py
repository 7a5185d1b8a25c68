from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.mixers.low_rank.linformer import SHARING


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("T", [1, 7, 10])
def test_is_the_formula(sharing: str, T: int) -> None:
    mixer = create_mixer("linformer", 8, num_heads=2, max_length=10, proj_len=3, sharing=sharing).double()
    x = torch.randn(2, T, 8, dtype=torch.float64)
    q, k, v = (t.reshape(2, T, 2, 4).transpose(1, 2) for t in mixer.qkv(x).chunk(3, -1))
    e = mixer.key_proj[..., :T]
    f = e if sharing == "key_value" else mixer.value_proj[..., :T]
    weights = (q @ (e @ k).transpose(2, 3) / 2).softmax(-1)
    torch.testing.assert_close(mixer(x), mixer.out((weights @ (f @ v)).transpose(1, 2).flatten(2)))


def test_projection_by_the_identity_is_full_attention() -> None:
    mixer = create_mixer("linformer", 8, max_length=12, proj_len=12).double()
    for proj in (mixer.key_proj, mixer.value_proj):
        proj.data = torch.eye(12, dtype=torch.float64)[None]
    plain = create_mixer("attention", 8, positions="none", causal=False).double()
    plain.out.load_state_dict(mixer.out.state_dict())
    for part, weight in zip((plain.q, plain.k, plain.v), mixer.qkv.weight.detach().chunk(3)):
        part.weight = torch.nn.Parameter(weight.clone())
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), plain(x))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"causal": True}, "causal=True is not possible for linformer"),
        ({"sharing": "layers"}, "sharing must be one of none, headwise, key_value; got 'layers'"),
        ({"proj_len": 0}, "max_length and proj_len must be at least 1, got 1024 and 0"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("linformer", 8, **options)


def test_too_long() -> None:
    with pytest.raises(ValueError, match="at most 10 tokens"):
        create_mixer("linformer", 8, max_length=10)(torch.randn(1, 11, 8))
