"""What the base class does for every mixer: checks, alignment, packing, states."""

from __future__ import annotations

import pytest
import torch

from anyformer import Context, create_mixer, mixer_info
from anyformer.laws.case import randomized
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import mixers
from anyformer.models import load_spec
from anyformer.models.build import Backbone
from anyformer.parts import option_names


def test_explicit_positions_replace_the_numbers_of_tokens() -> None:
    mixer = create_mixer("attention", 8).eval()
    x = torch.randn(1, 4, 8)
    positions = torch.arange(4.0)[None]
    torch.testing.assert_close(mixer(x, positions=positions), mixer(x))
    torch.testing.assert_close(mixer(x, positions=positions + 7), mixer(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixer(x, positions=positions * 9), mixer(x), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("atention", {}, "unknown mixer 'atention'; did you mean 'attention'"),
        ("attention", {"windw": 3}, "mixer 'attention' has no option 'windw'; did you mean 'window'"),
        ("attention", {"num_heads": 3}, "num_heads must divide dim=8"),
        ("attention", {"num_kv_heads": 3}, "num_kv_heads must divide num_heads=4, got 3"),
        ("retention", {"causal": False}, "causal=False is not possible for retention"),
        ("attention", {"positions": "rop"}, "unknown position 'rop'; did you mean 'rope'"),
    ],
)
def test_errors_name_what_is_wrong(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer(name, 8, **options)


def test_errors_while_streaming() -> None:
    mixer = create_mixer("attention", 8)
    with pytest.raises(ValueError, match="mask must be bool while streaming"):
        mixer.stream(torch.randn(1, 2, 8), mixer.init_state(1), mask=torch.ones(1, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="state must come from init_state"):
        mixer.stream(torch.randn(1, 2, 8), [])
    with pytest.raises(ValueError, match="context was given, but attention takes none"):
        mixer(torch.randn(1, 2, 8), context=Context(torch.randn(1, 2, 8)))
    cross = create_mixer("cross_attention", 8)
    with pytest.raises(ValueError, match="context must be given with the first tokens"):
        cross.stream(torch.randn(1, 2, 8), cross.init_state(1))


NUMBERED = [
    *[f"[{name}]" for name in mixers.ids() if "positions" in option_names(mixers, name)],
    *[
        "[two_level([attention], [attention])]",
        "[axial_decoder([attention], [attention])]",
        "[ranker([attention])]",
    ],
    *["[remamba([attention])]", "[mixture_of_depths([attention])]", "[segments([attention])]"],
]


@pytest.mark.parametrize("layers", NUMBERED)
def test_explicit_positions_are_used_or_refused(layers: str) -> None:
    name = layers.strip("[]")
    options = mixers.get(name).examples[0] if name in mixers else {}
    parts = [{"name": name, "options": options}] if name in mixers else layers
    causal = name not in mixers or mixer_info(name, **options).causal
    spec = load_spec({"layers": parts, "dim": 16, "positions": "rope", "causal": causal})
    body = randomized(lambda: Backbone(spec)).double().eval()
    x, numbers = torch.randn(2, 12, 16).double(), torch.arange(12.0).expand(2, 12) ** 1.3
    if body.info.numbers_tokens:
        with pytest.raises(
            ValueError, match="positions must be None: .* numbers the tokens of its parts itself"
        ):
            body(x, positions=numbers)
    else:
        assert not torch.allclose(body(x, positions=numbers), body(x), atol=1e-9)


@pytest.mark.parametrize("part", ["attention", "mamba"])
def test_a_trace_is_refused_in_words(part: str) -> None:
    mixer = create_mixer(part, 8).eval()
    with pytest.raises(ValueError, match=r"torch\.jit\.trace .* use torch\.compile or torch\.export"):
        torch.jit.trace(mixer, torch.randn(1, 5, 8), check_trace=False)


def test_a_layer_is_traced_without_kernels() -> None:
    """A kernel would read sizes, which are tensors there, as addresses, and end the process."""
    norm, x = RMSNorm(8), torch.randn(2, 5, 8)
    torch.testing.assert_close(torch.jit.trace(norm, x)(2 * x), norm(2 * x))
