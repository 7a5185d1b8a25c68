"""One kernel for each axis of a grid."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, instance_norm

from anyformer.mixers import create_mixer


@pytest.mark.parametrize("form", ["parallel", "chained"])
def test_the_formula_on_an_image(form: str) -> None:
    mixer = create_mixer(
        "factorized_attention", 8, num_heads=2, kernel_dim=6, grid=4, form=form, positions="none"
    ).double()
    image = torch.randn(2, 5, 4, 8, dtype=torch.float64)
    x = mixer.in_norm(image)
    kernels = []
    for axis, part in enumerate(mixer.kernels):
        mean = x.mean(2 - axis)
        for layer in (part.q, part.k):
            layer.weight.data.mul_(50)
        gate, up = part.up(part.norm(part.pool(mean))).chunk(2, -1)
        z = part.down(gelu(gate) * up)
        q, k = (layer(z).unflatten(2, (2, 6)) for layer in (part.q, part.k))
        kernels.append(torch.einsum("bihc,bjhc->bhij", q, k))
    v = mixer.v(x).unflatten(3, (2, 4))
    rows = torch.einsum("bhij,bjlhc->bilhc", kernels[0], v)
    if form == "parallel":
        y = torch.cat([rows, torch.einsum("bhlm,bimhc->bilhc", kernels[1], v)], -1)
    else:
        y = torch.einsum("bhlm,bimhc->bilhc", kernels[1], rows)
    y = instance_norm(y.flatten(3).movedim(3, 1)).movedim(1, 3)
    expected = mixer.out(gelu(mixer.mix(y)))
    torch.testing.assert_close(mixer(image.flatten(1, 2)), expected.flatten(1, 2))


def test_means_and_norms_are_those_of_the_cells_that_are_there() -> None:
    mixer = create_mixer("factorized_attention", 16, grid=3).double()
    for p in mixer.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    x, mask = torch.randn(2, 14, 16, dtype=torch.float64), torch.ones(2, 14, dtype=torch.bool)
    mask[1, 8:] = False
    torch.testing.assert_close(mixer(x, mask=mask)[1, :8], mixer(x[1:, :8])[0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"form": "summed"}, "form must be 'parallel' or 'chained', got 'summed'"),
        ({"causal": True}, "causal=True is not possible for factorized_attention"),
        ({"positions": "alibi"}, "positions='alibi' make scores, and factorized_attention has none"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("factorized_attention", 16, **options)
