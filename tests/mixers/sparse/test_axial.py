"""A mixer along an axis of a grid."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.wrappers import create_wrapper


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lines_are_mixed_by_themselves(axis: int, causal: bool) -> None:
    mixer = create_mixer("axial", 16, grid="3x4", axis=axis, causal=causal).double()
    film = torch.randn(2, 5, 3, 4, 16, dtype=torch.float64)
    y = mixer(film.flatten(1, 3)).reshape(film.shape)
    lines, out = film.movedim(axis + 1, -2), y.movedim(axis + 1, -2)
    for a in range(lines.shape[1]):
        for b in range(lines.shape[2]):
            torch.testing.assert_close(out[:, a, b], mixer.inner(lines[:, a, b]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_last_slice_that_is_not_full(axis: int) -> None:
    """What is not there is not seen: the lines are shorter."""
    mixer = create_mixer("axial", 16, grid="3x4", axis=axis, causal=False).double()
    x = torch.randn(1, 19, 16, dtype=torch.float64)
    y = mixer(x)
    lines: dict[tuple[int, ...], list[int]] = {}
    for t in range(19):
        place = (t // 12, t // 4 % 3, t % 4)
        lines.setdefault((*place[:axis], *place[axis + 1 :]), []).append(t)
    for line in lines.values():
        torch.testing.assert_close(y[:, line], mixer.inner(x[:, line]))


def test_what_it_says_of_itself() -> None:
    info = create_mixer("axial", 16, grid="3x4", axis=1).info
    assert info.reach == (8, 0) and info.cost == "n" and info.state == "constant"
    info = create_mixer("axial", 16, grid="3x4", axis=0).info
    assert info.reach == (None, 0) and info.cost == "n^2" and info.state == "n"
    assert create_mixer("axial", 16, grid=4, axis=1, causal=False).info.reach == (3, 3)
    window = {"name": "attention", "window": 2}
    assert create_mixer("axial", 16, grid=6, axis=0, inner=window).info.reach == (6, 0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"axis": 2}, "axis must be from 0 to 1 on this grid, got 2"),
        ({"grid": 0}, "grid must be the sizes of all axes but the first"),
        ({"inner": "atention"}, "unknown mixer 'atention'; did you mean 'attention'"),
        ({"inner": {"name": "attention", "heads": 2}}, "has no option 'heads'"),
        ({"inner": "cross_attention"}, "inner must not need a context"),
        ({"inner": {"name": "flat_mlp", "max_length": 4}, "grid": 5}, "grid must have at most 4 cells"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("axial", 16, **options)


def test_the_decoder_asks_for_what_it_needs() -> None:
    rows = create_mixer("axial", 16, grid=4, axis=1, causal=False)
    columns = create_mixer("axial", 16, grid=4, axis=0, causal=False)
    causal = create_mixer("attention", 16)
    with pytest.raises(ValueError, match="outer must not depend on later rows"):
        create_wrapper("axial_decoder", 16, [columns, causal], columns=4)
    with pytest.raises(ValueError, match="inner must be causal"):
        create_wrapper("axial_decoder", 16, [rows, rows], columns=4)
    with pytest.raises(ValueError, match="columns must be at least 2, got 1"):
        create_wrapper("axial_decoder", 16, [rows, causal], columns=1)
