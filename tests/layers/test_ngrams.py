"""Probabilities of what follows by counts, by the definition with dictionaries; a place's own count is left out."""

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


def followed(numbers: torch.Tensor) -> torch.Tensor:
    """The next tokens, 0 behind the last."""
    found = torch.zeros_like(numbers)
    found[:, :-1] = numbers[:, 1:]
    return torch.where(numbers > 0, found, 0)


def counted(numbers: torch.Tensor, following: torch.Tensor, without: tuple[int, int] | None = None) -> Counts:
    """Counts after contexts of each length, by loops; without those of one place (row, t)."""
    found: Counts = [defaultdict(Counter) for _ in range(LONGEST + 1)]
    short: Counts = [defaultdict(Counter) for _ in range(LONGEST + 1)]
    for row, text in enumerate(numbers.tolist()):
        for t, token in enumerate(following[row].tolist()):
            context = ended(text[: t + 1])
            if token and (row, t) != without:
                (found if len(context) == LONGEST else short)[len(context)][context][token] += 1
    for length in range(LONGEST, -1, -1):
        for context, after in short[length].items():  # at the beginning of a text
            found[length][context].update(after)
        for context, after in found[length].items() if length else ():
            for token in after:
                found[length - 1][context[1:]][token] += 1
    return found


def ended(text: list[int]) -> tuple[int, ...]:
    """The tokens at the end of a text behind the last that is none, at most the longest context."""
    last = max((place for place, token in enumerate(text) if token == 0), default=-1)
    return tuple(text[last + 1 :][-LONGEST:])


def told(made: NextTokenCounts, counts: Counts, context: tuple[int, ...], lowest: int = 0) -> torch.Tensor:
    """P(w | h) (V,) by the formula, from P_{lowest} on."""
    p = made.frequent.double() if lowest else torch.full((VOCAB,), 1 / VOCAB, dtype=torch.float64)
    for length in range(lowest, LONGEST + 1):
        h = context[len(context) - length :]
        after = counts[length].get(h) if len(h) == length <= len(context) else None
        if after and sum(after.values()):
            total, taken = sum(after.values()), 0.0
            higher = torch.zeros_like(p)
            for token, count in after.items():
                discount = min(float(made.discounts[length, min(count, 3)]), count)
                higher[token - 1], taken = (count - discount) / total, taken + discount
            p = higher + taken / total * p
    return p


def fitted(numbers: torch.Tensor, following: torch.Tensor | None = None) -> NextTokenCounts:
    made = NextTokenCounts(VOCAB, LONGEST)
    made.fit(token_windows(numbers, LONGEST), followed(numbers) if following is None else following)
    return made


def other_answers(numbers: torch.Tensor) -> torch.Tensor:
    """Answers that are not the next token: whether two tokens are the same, at some places alone."""
    found = 1 + (numbers == numbers.roll(1, 1)).long()
    return torch.where(torch.rand(found.shape, generator=torch.Generator().manual_seed(2)) < 0.7, found, 0)


@pytest.mark.parametrize("asked", [followed, other_answers])
@pytest.mark.parametrize("length", [40, LONGEST - 1])
def test_probabilities_are_those_of_the_definition(asked, length: int) -> None:
    known, new = texts()[:, :length], texts(1)
    made, counts = fitted(known, asked(known)), counted(known, asked(known))
    found, seen = made(token_windows(new, LONGEST))
    assert found.shape == (3, 40, VOCAB) and seen.shape == (3, 40, LONGEST)
    assert bool(seen[..., : min(length - 1, LONGEST)].any())
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 40))
    for row, text in enumerate(new.tolist()):
        for t in range(40):
            context = ended(text[: t + 1])
            torch.testing.assert_close(
                found[row, t].exp().double(), told(made, counts, context), atol=1e-6, rtol=0
            )
            for n in range(1, LONGEST + 1):
                after = counts[n].get(context[-n:], Counter()) if len(context) >= n else Counter()
                assert float(seen[row, t, n - 1].expm1()) == pytest.approx(sum(after.values()), abs=1e-3)


@pytest.mark.parametrize("asked", [followed, other_answers])
def test_a_places_own_count_is_left_out_as_if_it_had_not_been_counted(asked) -> None:
    numbers = texts()
    following = asked(numbers)
    made = fitted(numbers, following)
    found, _ = made(token_windows(numbers, LONGEST), following)
    for row, text in enumerate(numbers.tolist()):
        for t in range(40):
            counts = counted(numbers, following, (row, t))
            known = bool(following[row, t])
            expected = told(made, counts, ended(text[: t + 1]), 1) if known else made.frequent.double()
            torch.testing.assert_close(found[row, t].exp().double(), expected, atol=1e-6, rtol=0)


def test_at_most_too_much_is_left_out_of_a_text_that_was_counted_in_longer_pieces() -> None:
    """A piece does not show what stood before it; P without the very place is never above what it would be with."""
    numbers = texts()
    made, piece, following = fitted(numbers), numbers[:, 11:15], followed(numbers)[:, 11:15]
    own = (following - 1).clamp_min(0)[..., None]
    without, with_it = (made(token_windows(piece, LONGEST), one)[0] for one in (following, None))
    assert bool((without.gather(2, own) <= with_it.gather(2, own) + 1e-6)[following > 0].all())


def test_probabilities_are_those_of_the_reference() -> None:
    task = create_task("bytes")
    reference = BestNGram([4]).fit(task)
    assert reference.smoothing == KNESER_NEY
    made, known, new = NextTokenCounts(256, 3), task.train_sample(10**6), task.sample("test", 4)
    following = known.targets + 1
    following[:, :2] = 0  # the reference counts beginnings of windows in another way
    made.fit(token_windows(known.x + 1, 3), following)
    found, _ = made(token_windows(new.x + 1, 3))
    expected = reference.predict(new).float()
    near = (found - expected)[:, 3:].abs() < 1e-3
    assert float(near.float().mean()) > 0.6
    told, by_reference = (p.gather(2, new.targets[..., None]).mean() for p in (found, expected))
    assert abs(float(told - by_reference)) < 0.01


def test_before_it_is_fitted_all_answers_are_as_likely() -> None:
    made = NextTokenCounts(VOCAB, LONGEST)
    found, seen = made(token_windows(texts(), LONGEST))
    assert bool((found.exp() - 1 / VOCAB).abs().max() < 1e-6) and not seen.any()
    made.fit(token_windows(texts(), LONGEST), torch.zeros_like(texts()))
    found, seen = made(token_windows(texts(), LONGEST))
    assert bool((found.exp() - 1 / VOCAB).abs().max() < 1e-6) and not seen.any()


def test_a_state_dict_holds_tables_of_any_size() -> None:
    made, other = fitted(texts()), fitted(texts()[:1, :10])
    other.load_state_dict(made.state_dict())
    windows = token_windows(texts(1), LONGEST)
    assert torch.equal(other(windows)[0], made(windows)[0])
