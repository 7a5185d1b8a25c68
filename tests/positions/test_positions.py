"""Position schemes: each in attention under the laws, on tiles, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer, mixer_info
from anyformer.models import create_model, load_spec
from anyformer.positions import create_position, position_info, positions

SIZES = {"dim": 16, "num_heads": 4, "head_dim": 4}
STREAMING: list[dict[str, Any]] = [
    {"name": "complex"},
    {"name": "fire", "threshold": 8},
    {"name": "kerple", "form": "power"},
    {"name": "position_infused"},
    {"name": "randomized", "longest": 1024},
    {"name": "relative", "form": "m3", "reach": 2},
    {"name": "relative", "form": "m4", "reach": 4},
    {"name": "rope", "pairs": "neighbours", "fraction": 0.5},
    {"name": "shaw", "reach": 4},
    {"name": "t5", "num_buckets": 8, "max_distance": 16},
    {"name": "urpe", "scheme": "alibi", "reach": 5},
]
BIDIRECTIONAL: list[dict[str, Any]] = [
    {"name": "fire", "threshold": 8},
    {"name": "kerple"},
    {"name": "randomized", "scheme": "kerple"},
    {"name": "relative", "form": "m1", "reach": 4},
    {"name": "relative", "form": "m2", "reach": 4},
    {"name": "reverse", "scheme": "alibi"},
    {"name": "t5", "bidirectional": True},
]


def label(scheme: dict[str, Any]) -> str:
    return "-".join(str(v) for v in scheme.values())


@pytest.mark.parametrize("scheme", STREAMING, ids=label)
def test_laws_streaming(scheme: dict[str, Any]) -> None:
    assert check_mixer("attention", options={"positions": scheme})


@pytest.mark.parametrize("scheme", BIDIRECTIONAL, ids=label)
def test_laws_bidirectional(scheme: dict[str, Any]) -> None:
    assert check_mixer("attention", options={"positions": scheme, "causal": False})


@pytest.mark.parametrize("name", positions.ids())
def test_facts_are_those_of_the_built_scheme(name: str) -> None:
    scheme = create_position(name, **SIZES)
    for field, value in position_info(name)._asdict().items():
        assert getattr(scheme, field) == value, field


@pytest.mark.parametrize("scheme", [*STREAMING, *BIDIRECTIONAL], ids=label)
def test_terms_on_a_tile_are_tiles_of_the_terms(scheme: dict[str, Any]) -> None:
    built = create_position(scheme, **SIZES).double()
    q, k = (torch.randn(2, 4, 9, 4, dtype=torch.float64) for _ in range(2))
    place = torch.rand(2, 9, dtype=torch.float64).cumsum(1) * 3
    rows, columns = slice(2, 5), slice(3, 9)
    if built.scores:
        whole = built.score(q, k, place, place)
        tile = built.score(q[:, :, rows], k[:, :, columns], place[:, rows], place[:, columns])
        assert whole is not None and tile is not None
        torch.testing.assert_close(tile, whole[:, :, rows, columns])
    if built.weighs:
        p = torch.rand(2, 4, 9, 9, dtype=torch.float64)
        weights, more = built.weigh(p, place, place)
        parts = [built.weigh(p[..., cut], place, place[:, cut]) for cut in (slice(0, 3), slice(3, 9))]
        torch.testing.assert_close(torch.cat([part[0] for part in parts], -1), weights)
        if more is not None:
            assert parts[0][1] is not None and parts[1][1] is not None
            torch.testing.assert_close(parts[0][1] + parts[1][1], more)


def test_long_inputs_go_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = create_mixer("attention", 16, positions={"name": "urpe", "scheme": "shaw", "reach": 3}).double()
    with torch.no_grad():
        for p in mixer.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x = torch.randn(2, 50, 16, dtype=torch.float64, requires_grad=True)
    found = []
    for elements in (2**21, 2000):
        monkeypatch.setattr("anyformer.ops.attention.tiles.TILE_ELEMENTS", elements)
        y = mixer(x)
        found.append((y, *torch.autograd.grad(y.square().sum(), [x, *mixer.parameters()])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_schemes_in_models() -> None:
    for line in ("reverse", "randomized", "randomized(scheme=sinusoidal)", "learnable_fourier(features=8)"):
        model = create_model(f"[attention]*2 dim=16 causal=false positions={line}", vocab_size=5)
        assert model(torch.randint(5, (2, 7))).shape == (2, 7, 5)
    nested = "randomized(scheme=t5(num_buckets=8), longest=64)"
    spec = load_spec(f"[attention]*2 dim=16 positions=urpe(scheme={nested})")
    assert load_spec(str(spec)) == spec
    model = create_model(spec, vocab_size=5).eval()
    x = torch.randint(5, (2, 7))
    first, state = model.stream(x[:, :3], model.init_state(2))
    torch.testing.assert_close(torch.cat([first, model.stream(x[:, 3:], state)[0]], 1), model(x))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: create_mixer("attention", 16, positions="reverse"),
            "'reverse' are added to a model's input",
        ),
        (
            lambda: create_mixer("attention", 16, positions={"name": "reverse", "scheme": "alibi"}),
            "causal must be False with positions=",
        ),
        (lambda: create_mixer("attention", 16, positions="randomized"), "causal must be False"),
        (lambda: create_mixer("attention", 16, positions="shaw", window=4), "window must be None"),
        (lambda: mixer_info("attention", positions="sinusoidal"), "give them to the model, not to attention"),
        (
            lambda: create_mixer("longformer", 16, positions="position_infused"),
            "do not go with longformer: it does not support a scheme that infuses",
        ),
        (
            lambda: create_mixer("segment_attention", 16, positions="urpe"),
            "does not support a scheme that weighs",
        ),
        (
            lambda: create_mixer("attention", 16, positions="complex", num_kv_heads=1)(torch.randn(1, 2, 16)),
            "num_kv_heads must be 4 for complex positions",
        ),
        (lambda: create_position("relative", form="m5", **SIZES), "form must be one of m1, m2, m3, m4"),
        (lambda: create_position("shaw", reach=0, **SIZES), "reach must be at least 1 for shaw, got 0"),
        (lambda: create_position("t5", num_buckets=1, **SIZES), "num_buckets must be at least 2"),
        (lambda: create_position("kerple", form="cosine", **SIZES), "form must be 'log' or 'power'"),
        (lambda: create_position("fire", threshold=0, **SIZES), "threshold must be positive"),
        (lambda: create_position("rope", fraction=0.25, **SIZES), "must be even for rope"),
        (lambda: create_position("rope", pairs="thirds", **SIZES), "pairs must be 'half' or 'neighbours'"),
        (lambda: create_position("learnable_fourier", groups=3, **SIZES), "groups must divide axes=1"),
        (lambda: create_position("urpe", scheme="sinusoidal", **SIZES), "scheme must be one that rotates"),
        (
            lambda: create_model("[attention] positions=learnable_fourier(axes=2)", vocab_size=5)(
                torch.zeros(1, 3, dtype=torch.int64)
            ),
            "positions must have 2 axes for learnable_fourier, got 1",
        ),
    ],
)
def test_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
