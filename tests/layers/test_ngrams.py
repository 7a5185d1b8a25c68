"""Probabilities of the next token by counts, by the definition with dictionaries; a place's own count is left out."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
import torch

from anyformer.layers.ngrams import NextTokenCounts, token_windows
from anyformer.tasks import create_task
from anyformer.tasks.ngrams import KNESER_NEY, BestNGram

VOCAB, LONGEST = 4, 3
Counts = list[dict[tuple[int, ...], Counter[int]]]


def texts(seed: int = 0) -> torch.Tensor:
    """Tokens that tend to follow one another, numbered from 1; the last of the second text are none."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.ones(3, 40, dtype=torch.int64)
    for t in range(1, 40):
        other = torch.randint(VOCAB, (3,), generator=generator)
        follows = torch.rand(3, generator=generator) < 0.6
        found[:, t] = torch.where(follows, found[:, t - 1] % VOCAB, other) + 1
    found[1, 30:] = 0
    return found


def counted(numbers: torch.Tensor, without: tuple[int, int] | None = None) -> Counts:
    """Counts after contexts of each length, by loops; without that of the token behind one place (row, t)."""
    found: Counts = [defaultdict(Counter) for _ in range(LONGEST + 1)]
    for row, text in enumerate(numbers.tolist()):
        for t in range(LONGEST - 1, len(text) - 1):
            if 0 not in text[t - LONGEST + 1 : t + 2] and (row, t) != without:
                found[LONGEST][tuple(text[t - LONGEST + 1 : t + 1])][text[t + 1]] += 1
    for length in range(LONGEST, 0, -1):
        for context, after in found[length].items():
            for token in after:
                found[length - 1][context[1:]][token] += 1
    return found


def told(made: NextTokenCounts, counts: Counts, context: list[int], lowest: int = 0) -> torch.Tensor:
    """P(w | h) (V,) by the formula, from P_{lowest} on; contexts end where a 0 stands."""
    p = made.frequent.double() if lowest else torch.full((VOCAB,), 1 / VOCAB, dtype=torch.float64)
    for length in range(lowest, LONGEST + 1):
        h = context[len(context) - length :]
        after = counts[length].get(tuple(h)) if 0 not in h and len(h) == length else None
        if after and sum(after.values()):
            total, taken = sum(after.values()), 0.0
            higher = torch.zeros_like(p)
            for token, count in after.items():
                discount = min(float(made.discounts[length, min(count, 3)]), count)
                higher[token - 1], taken = (count - discount) / total, taken + discount
            p = higher + taken / total * p
    return p


def fitted(numbers: torch.Tensor) -> NextTokenCounts:
    made = NextTokenCounts(VOCAB, LONGEST)
    made.fit(numbers)
    return made


def test_probabilities_are_those_of_the_definition() -> None:
    made, counts, new = fitted(texts()), counted(texts()), texts(1)
    found, seen = made(token_windows(new, LONGEST))
    assert found.shape == (3, 40, VOCAB) and seen.shape == (3, 40, LONGEST)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 40))
    for row, text in enumerate(new.tolist()):
        for t in range(40):
            context = [0] * LONGEST + text[: t + 1]
            torch.testing.assert_close(
                found[row, t].exp().double(), told(made, counts, context), atol=1e-6, rtol=0
            )
            for length in range(1, LONGEST + 1):
                total = sum(counts[length].get(tuple(context[-length:]), Counter()).values())
                assert float(seen[row, t, length - 1].expm1()) == pytest.approx(total, abs=1e-3)


def test_a_places_own_count_is_left_out_as_if_it_had_not_been_counted() -> None:
    numbers = texts()
    made, after = fitted(numbers), torch.zeros_like(numbers)
    after[:, :-1] = numbers[:, 1:]
    found, _ = made(token_windows(numbers, LONGEST), after)
    for row, text in enumerate(numbers.tolist()):
        for t in range(40):
            whole = t + 1 < 40 and t >= LONGEST - 1 and 0 not in text[t - LONGEST + 1 : t + 2]
            counts = counted(numbers, (row, t))
            expected = told(made, counts, text[: t + 1], 1) if whole else made.frequent.double()
            torch.testing.assert_close(found[row, t].exp().double(), expected, atol=1e-6, rtol=0)


def test_probabilities_are_those_of_the_reference() -> None:
    task = create_task("bytes")
    reference = BestNGram([4]).fit(task)
    assert reference.smoothing == KNESER_NEY
    made, known, new = NextTokenCounts(256, 3), task.train_sample(10**6), task.sample("test", 4)
    made.fit(torch.cat([known.x, known.targets[:, -1:]], 1) + 1)
    found, _ = made(token_windows(new.x + 1, 3))
    expected = reference.predict(new).float()
    # not the same, as the reference counts short contexts at the beginnings of windows too
    near = (found - expected)[:, 3:].abs() < 1e-3
    assert float(near.float().mean()) > 0.6
    told, by_reference = (p.gather(2, new.targets[..., None]).mean() for p in (found, expected))
    assert abs(float(told - by_reference)) < 0.01


def test_before_it_is_fitted_all_tokens_are_as_likely_and_none_follows_what_is_too_short() -> None:
    made = NextTokenCounts(VOCAB, LONGEST)
    found, seen = made(token_windows(texts(), LONGEST))
    assert bool((found.exp() - 1 / VOCAB).abs().max() < 1e-6) and not seen.any()
    made.fit(texts()[:, :LONGEST])
    found, seen = made(token_windows(texts(), LONGEST))
    assert bool((found.exp() - 1 / VOCAB).abs().max() < 1e-6) and not seen.any()


def test_a_state_dict_holds_tables_of_any_size() -> None:
    made, other = fitted(texts()), fitted(texts()[:1, :10])
    other.load_state_dict(made.state_dict())
    windows = token_windows(texts(1), LONGEST)
    assert torch.equal(other(windows)[0], made(windows)[0])
