"""The numbers that pages name are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anyformer.compare.plan import budget, learning_rate_search, request, sizes
from anyformer.compare.plan.allocation import ROUNDS, SEARCH_SHARE
from anyformer.compare.verdict import confidence_intervals, judge, significance, undertrained
from anyformer.mixers import families
from anyformer_papers import catalogue

ROOT = Path(__file__).parents[2]
WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def percent(share: float) -> str:
    return f"{100 * share:g}%"


COMPARE = [
    f"agree within {percent(sizes.TOLERANCE)}",
    f"from {learning_rate_search.RUNGS[0]:g} to {learning_rate_search.RUNGS[-1]:g} (1, 2, 5, 10, ...)",
    f"the same {WORDS[len(learning_rate_search.start_for(1))]} rates in short runs, {percent(ROUNDS[0])} of the steps",
    f"a second round of longer runs ({percent(ROUNDS[1])}) decides: it begins with the best two",
    f"over the last {WORDS[round(10 * (1 - budget.BEFORE_DECAY))]} tenths",
    f"when {'half' if SEARCH_SHARE == 0.5 else SEARCH_SHARE} of the budget is gone",
    f"At least {WORDS[request.FEWEST_SEEDS]} full runs each",
    f"fewer than {WORDS[judge.FEW]}",
    f"within {WORDS[undertrained.HORIZON]} doublings of the steps, or still lowers its loss by "
    f"{percent(undertrained.FALLING)} or more",
    f"at least {'a tenth' if undertrained.YOUNG == 0.1 else undertrained.YOUNG} of all that it has learned",
    f"fewer than {undertrained.TOKENS_A_PARAMETER} tokens for each parameter, and made fewer than "
    f"{WORDS[undertrained.PASSES]} passes",
    f"at the {percent(confidence_intervals.LEVEL)} level",
    f"by more than {percent(significance.SMALLEST)} of the score",
    f"every {percent(1 - confidence_intervals.LEVEL)} interval",
    f"the {percent(1 - 2 * confidence_intervals.LEVEL)} interval",
]
README = [f"in {WORDS[len(families())]} families", f"knows {len(catalogue())} papers"]


@pytest.mark.parametrize(
    "page, text",
    [*(("docs/compare.md", text) for text in COMPARE), *(("README.md", text) for text in README)],
)
def test_a_page_has_the_number_of_the_code(page: str, text: str) -> None:
    running = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert text in running, f"{page} must say: {text}"


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/index.md", "docs/concepts.md", "docs/papers.md"]
)
def test_no_page_counts_what_grows(page: str) -> None:
    """A new mixer, law or card changes no page: those that need a count take it from the code when they are built."""
    text = (ROOT / page).read_text(encoding="utf-8")
    number = rf"(?:\d+|{'|'.join(WORDS[5:])}|\w+teen|\w+ty)"
    assert not re.findall(rf"\b{number} (?:causal |token )?(?:mixers|laws|cards|models|ops|parts)\b", text)
