"""Infos of mixers: growths that exist, and causality by the reach."""

from __future__ import annotations

import pytest

from anyformer.info import GROWTHS, MixerInfo


@pytest.mark.parametrize("field", ["cost", "memory", "state"])
def test_a_growth_is_one_of_the_list(field: str) -> None:
    for growth in GROWTHS:
        assert getattr(MixerInfo(reach=(0, 0), **{field: growth}), field) == growth
    with pytest.raises(ValueError, match=f"{field} must be one of none, .*; got 'n log log n'"):
        MixerInfo(reach=(0, 0), **{field: "n log log n"})


@pytest.mark.parametrize(
    "reach, causal",
    [
        ((0, 0), True),
        ((None, 0), True),
        ((3, 0), True),
        ((None, None), False),
        ((0, None), False),
        ((3, 1), False),
    ],
)
def test_causal_is_a_reach_without_later_tokens(reach: tuple[int | None, int | None], causal: bool) -> None:
    assert MixerInfo(reach=reach).causal is causal
