"""Scores of items by those before, by loops over sets; the sample at hand is left out as if it had not been counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.layers.cooccurrence import Cooccurrence

ITEMS, FADING = 6, 0.7


def samples(seed: int = 0) -> torch.Tensor:
    found = torch.randint(1, ITEMS + 1, (12, 5), generator=torch.Generator().manual_seed(seed))
    return torch.where(
        torch.rand(found.shape, generator=torch.Generator().manual_seed(seed + 1)) < 0.15, 0, found
    )


def by_loops(known: list[set[int]], before: list[int]) -> np.ndarray:
    score = np.zeros(ITEMS)
    for age, item in enumerate(reversed(before)):
        for other in range(1, ITEMS + 1):
            if item and item != other:
                both = sum({item, other} <= one for one in known)
                norm = max(1, sum(item in one for one in known)) * max(1, sum(other in one for one in known))
                score[other - 1] += FADING**age * both / norm**0.5
    return score


def fitted(known: torch.Tensor) -> Cooccurrence:
    made = Cooccurrence(ITEMS, FADING)
    made.fit(known)
    return made


def test_scores_are_those_of_the_definition() -> None:
    known, new = samples(), samples(5)
    made, sets = fitted(known), [{*row} - {0} for row in known.tolist()]
    score, there = made(new.view(3, 4, 5))
    assert score.shape == there.shape == (3, 4, ITEMS)
    for row, before in enumerate(new.tolist()):
        np.testing.assert_allclose(score.view(12, -1)[row], by_loops(sets, before), rtol=1e-5, atol=1e-6)
        assert there.view(12, -1)[row].nonzero()[:, 0].add(1).tolist() == sorted({*before} - {0})


@pytest.mark.parametrize("length", [1, 3, 5])
def test_the_sample_at_hand_is_left_out(length: int) -> None:
    known = samples()
    made, sets = fitted(known), [{*row} - {0} for row in known.tolist()]
    score, _ = made(known[:, :length], known)
    for row, before in enumerate(known[:, :length].tolist()):
        others = sets[:row] + sets[row + 1 :]
        np.testing.assert_allclose(score[row], by_loops(others, before), rtol=1e-5, atol=1e-6)


def test_nothing_is_alike_before_it_is_fitted() -> None:
    score, there = Cooccurrence(ITEMS, FADING)(samples())
    assert not score.any() and bool(there.any())
    assert Cooccurrence(ITEMS, FADING)(samples()[:0])[0].shape == (0, ITEMS)
