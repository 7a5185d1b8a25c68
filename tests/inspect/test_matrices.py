from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.inspect import depth_error, implied_matrix, influence, mass_by_distance
from anyformer.mixers import create_mixer
from anyformer.models import create_model


@pytest.mark.parametrize(
    "name, options",
    [
        ("attention", {"positions": "alibi"}),
        ("attention", {"window": 4}),
        ("attention", {"causal": False}),
        ("linear_attention", {}),
        ("hash_attention", {"num_buckets": 4}),
        ("nystromformer", {"num_landmarks": 5, "conv_width": 3}),
    ],
)
def test_the_implied_matrix_is_the_one_that_the_mixer_makes(name: str, options: dict[str, Any]) -> None:
    mixer, x = create_mixer(name, 16, **options).double(), torch.randn(2, 11, 16, dtype=torch.float64)
    torch.testing.assert_close(implied_matrix(mixer, x), mixer.mixing(x).matrix)


def test_a_fused_map_has_its_values_last() -> None:
    mixer, x = create_mixer("combiner", 16, span=4).double(), torch.randn(2, 11, 16, dtype=torch.float64)
    torch.testing.assert_close(implied_matrix(mixer, x, values="qkv"), mixer.mixing(x).matrix)


def test_influence_is_the_norm_of_the_jacobian() -> None:
    mixer, x = create_mixer("mamba", 4).double(), torch.randn(1, 5, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(mixer, x)[0, :, :, 0]  # (T, D, T, D)
    torch.testing.assert_close(influence(mixer, x)[0], jacobian.square().sum((1, 3)).sqrt())


def test_mass_by_distance() -> None:
    matrix = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])  # the last row has no weight
    assert mass_by_distance(matrix).tolist() == [0.0, 0.0, 0.75, 0.25, 0.0]
    assert mass_by_distance(torch.stack([matrix, matrix])).tolist() == [0.0, 0.0, 0.75, 0.25, 0.0]
    assert mass_by_distance(torch.tensor([[0.0, -2.0], [0.0, 3.0]])).tolist() == [0.5, 0.5, 0.0]


def test_depth_error() -> None:
    model = create_model("[attention]*3 dim=16", vocab_size=5).eval()
    other = create_model("[attention]*3 dim=16", vocab_size=5).eval()
    other.load_state_dict(model.state_dict())
    x = torch.randint(5, (2, 9))
    assert depth_error(model, other, x) == [0.0] * 6
    with torch.no_grad():
        other.body.stack.mixers[2].out.weight.zero_()
    error = depth_error(model, other, x)
    assert error[:3] == [0.0, 0.0, 0.0] and min(error[3:]) > 0


def test_errors() -> None:
    with pytest.raises(ValueError, match="mamba has no submodule 'v'; it has .*in_proj"):
        implied_matrix(create_mixer("mamba", 4), torch.randn(1, 3, 4))
    models = [create_model(f"[attention]*{n} dim=16", vocab_size=5) for n in (1, 2)]
    with pytest.raises(ValueError, match="models must have the same number of sublayers, got 2 and 4"):
        depth_error(*models, torch.zeros(1, 3).long())
