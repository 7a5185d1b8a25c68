"""Candidates outside the user's limits do not win, and are named; the winner's price is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import task_result

from anyformer.compare import compare
from anyformer.compare.plan.limits import Limit
from anyformer.compare.report.page import render
from anyformer.compare.results import CandidateResult, Costs, TaskResult
from anyformer.compare.verdict.judge import judge
from anyformer.compare.verdict.limits import outside, price, told
from anyformer.compare.verdict.winner import best_candidate

COSTS = Costs(token_latency_ms=2.0, prefill_ms={64: 10.0}, state_bytes={64: 4096})


def candidate(**costs: object) -> CandidateResult:
    held = COSTS.model_copy(update=costs)
    return CandidateResult(name="a", given="a", parameters=41_200, saved_bytes=165_000, costs=held)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (Limit(2.0, "token"), []),
        (Limit(1.9, "token"), ["2.00 ms a streamed token"]),
        (Limit(9.0, "sample"), ["10.0 ms a sample"]),
        (Limit(165_000, "model"), []),
        (Limit(164_999, "model"), ["161 KiB saved"]),
        (Limit(4095, "state"), ["4.00 KiB of state"]),
    ],
)
def test_what_is_outside(limit: Limit, reason: list[str]) -> None:
    assert outside(candidate(), [limit], 64) == reason


def test_what_is_not_known_is_not_within() -> None:
    whole = candidate(
        token_latency_ms=None, state_bytes={}, notes=["does not stream: it looks at all later tokens"]
    )
    assert outside(whole, [Limit(2.0, "token")], 64) == ["does not stream"]
    assert outside(whole, [Limit(2.0, "sample")], 128) == ["its latency was not measured"]
    assert outside(candidate(), [Limit(9.0, "sample"), Limit(1.0, "state")], 64) == [
        "10.0 ms a sample",
        "4.00 KiB of state",
    ]


def test_the_price() -> None:
    assert (
        price(candidate(), 64)
        == "Its price here: 41.2k parameters (161 KiB saved) and 2.00 ms a streamed token."
    )
    assert "10.0 ms a sample" in price(candidate(token_latency_ms=None), 64)
    assert price(CandidateResult(name="a", given="a"), 64) == ""


def limited(*names: str) -> TaskResult:
    """A result in which these candidates are outside the limits."""
    result = task_result()
    for one in result.candidates:
        one.outside = ["3.00 ms a streamed token"] * (one.name in names)
    result.leaderboard, result.verdict = judge(result.task.metric, result.candidates, result.references)
    return result


def test_the_best_within_wins_and_the_others_stay_on_the_leaderboard() -> None:
    free, result = limited(), limited("transformer", "hybrid")
    assert {best_candidate(free).name} < {"transformer", "hybrid"}  # type: ignore[union-attr]
    assert [row.name for row in result.leaderboard] == [row.name for row in free.leaderboard]
    best = best_candidate(result)
    assert best is not None and best.name == "mamba" and result.verdict.winner in ("mamba", None)
    assert "transformer" not in [contrast.better for contrast in result.verdict.contrasts]
    said = told(result.candidates, [Limit(2.0, "token")])
    assert said.startswith(
        "Only candidates within the limits (at most 2.00 ms a streamed token) can win; outside are "
    )
    assert "transformer (3.00 ms a streamed token)" in said


def test_none_within() -> None:
    result = limited(*(one.name for one in task_result().candidates))
    assert result.verdict.kind == "nothing" and best_candidate(result) is None
    assert result.verdict.headline.startswith("No candidate is within the limits; the best without them is ")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("limits") / "data.csv"
    rows = [f"{i % 7},{i * 7 % 5},{'ab'[i % 7 > 3]}" for i in range(300)]
    path.write_text("\n".join(["x,y,label", *rows, ""]))
    return path


def test_a_comparison_under_limits(data: Path) -> None:
    found = compare(
        *(data, {"small": "mamba", "also": "retnet"}),
        **{"target": "label", "budget": "4 steps", "batch_size": 8, "workers": 1, "out": data.parent / "out"},
        **{"quiet": True, "parameters": 20_687, "max_latency": "1000s", "max_bytes": "1000", "refit": False},
    )
    result = found.results.tasks[0]
    assert all(len(one.outside) == 1 and one.outside[0].endswith("saved") for one in result.candidates)
    assert found.winner is None and result.verdict.kind == "nothing"
    assert "within the limits (at most 1,000,000 ms a sample and 1000 B saved)" in result.verdict.details[0]
    assert "outside the limits: " in render(found.results)
