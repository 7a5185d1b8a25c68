"""From scores to a leaderboard with intervals, and to a verdict in words.

What varies is counted in :mod:`anyformer.compare.verdict.confidence_intervals`; here it is decided what follows. Each
statement has a chance of at most 5% to be made where it is false, after Holm's correction (1979) for the number of
rows:

A winner
    differs from *every* other candidate at the 5% level, and by more than half a percent of the score: what is smaller
    decides nothing, and close to a perfect score three seeds tell too little of the spread. Otherwise the verdict is
    "too close to call" and names the group that the data cannot separate.
A reference is beaten
    when some candidate differs from it in the same way.
No sequence model is needed
    when some reference is not beaten, and for *no* candidate a lead that matters is left in the 90% interval of the
    difference: absence of evidence is none. Where such a lead remains possible, candidate and reference are too close
    to call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from anyformer.compare.results import (
    CandidateResult,
    Contrast,
    ReferenceResult,
    Standing,
    Verdict,
)
from anyformer.compare.results.formats import amount, format_scores, join, rate, score_with_unit
from anyformer.compare.verdict.confidence_intervals import (
    LEVEL,
    Row,
    advantage,
    beaten,
    contrasts,
    difference,
    estimate,
    holm,
    smallest_that_matters,
)
from anyformer.metrics import MetricInfo

__all__ = ["Row", "contrasts", "difference", "estimate", "holm", "judge"]

FEW = 8
"""With fewer pieces of evidence the verdict says so."""


def judge(
    metric: MetricInfo, candidates: Sequence[CandidateResult], references: Sequence[ReferenceResult]
) -> tuple[list[Standing], Verdict]:
    """The leaderboard, best first, and the verdict."""
    rows = [Row(c.name, tuple(run.test for run in c.runs)) for c in candidates if c.status == "ok" and c.runs]
    benches = [Row(r.name, (r.test,), is_reference=True) for r in references if r.test is not None]
    order, benches = (_ordered(metric, given) for given in (rows, benches))
    board = _board(metric, _ordered(metric, [*order, *benches]))
    if not order:
        return board, _nothing(metric, candidates, benches)
    best, others = order[0], order[1:]
    rivals = _contrasts(metric, [(best, other) for other in others])
    against = [_strongest(metric, order, bench) for bench in benches]
    tied = [best.name, *(c.other for c in rivals if not beaten(c))]
    unbeaten = [bench for bench, c in zip(benches, against, strict=True) if not beaten(c)]
    enough = [bench for bench in unbeaten if not _may_lead(metric, order, bench)]
    if enough:
        verdict = _no_model_needed(metric, best, tied, enough[0], against)
    elif unbeaten:
        verdict = _may_need_no_model(metric, order, unbeaten)
    elif len(order) == 1:
        verdict = _single(metric, best, benches)
    elif len(tied) > 1:
        verdict = _too_close(metric, tied, candidates, rivals)
    else:
        verdict = _winner(metric, best, rivals)
    verdict.contrasts = [*rivals, *against]
    verdict.details += _more(metric, [*order, *benches], benches, against, candidates, verdict)
    return board, verdict


def _ordered(metric: MetricInfo, rows: Sequence[Row]) -> list[Row]:
    """Rows with a score, best first."""
    known = [row for row in rows if math.isfinite(row.score)]
    return sorted(known, key=lambda row: row.score, reverse=metric.higher_is_better)


def _contrasts(metric: MetricInfo, pairs: Sequence[tuple[Row, Row]]) -> list[Contrast]:
    return contrasts(pairs, higher_is_better=metric.higher_is_better, limits=metric.limits)


def _strongest(metric: MetricInfo, order: Sequence[Row], bench: Row) -> Contrast:
    """The best candidate that beats the reference against it; the best of all where none does."""
    found = _contrasts(metric, [(row, bench) for row in order])
    return next((contrast for contrast in found if beaten(contrast)), found[0])


def _may_lead(metric: MetricInfo, order: Sequence[Row], bench: Row) -> list[Row]:
    """The candidates that may be better than the reference by what matters, at the 5% level on one side."""
    leads = [
        advantage(row, bench, higher_is_better=metric.higher_is_better, limits=metric.limits).interval(
            2 * LEVEL
        )
        for row in order
    ]
    return [
        row for row, lead in zip(order, leads, strict=True) if lead[1] > smallest_that_matters(row, bench)
    ]


def _board(metric: MetricInfo, rows: Sequence[Row]) -> list[Standing]:
    """Rows, best first, with what cannot be told from the first of them."""
    tied: list[Row] = []
    for references in (False, True):  # candidates are compared among themselves, as the verdict does
        others = [row for row in rows[1:] if row.is_reference == references]
        found = _contrasts(metric, [(rows[0], other) for other in others])
        tied += [other for other, contrast in zip(others, found, strict=True) if not beaten(contrast)]
    tied += rows[:1] if tied else []
    board = []
    for rank, row in enumerate(rows, start=1):
        low, high = estimate(row, metric.limits).interval()
        board.append(
            Standing(
                rank=rank,
                name=row.name,
                kind="reference" if row.is_reference else "candidate",
                score=row.score,
                low=low,
                high=high,
                tied_with_best=row in tied,
            )
        )
    return board


def _gap(metric: MetricInfo, contrast: Contrast) -> str:
    gap, low, high = format_scores(metric, [contrast.difference, contrast.low, contrast.high], digits=3)
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{gap}{unit} (95% interval {low} to {high})"


def _winner(metric: MetricInfo, best: Row, rivals: Sequence[Contrast]) -> Verdict:
    runner_up = rivals[0]
    return Verdict(
        kind="winner",
        winner=best.name,
        headline=f"{best.name} is the best: {metric.name} {score_with_unit(metric, best.score)}.",
        details=[f"It leads the runner-up, {runner_up.other}, by {_gap(metric, runner_up)}."],
    )


def _too_close(
    metric: MetricInfo, tied: list[str], candidates: Sequence[CandidateResult], rivals: Sequence[Contrast]
) -> Verdict:
    details = [_cheapest([c for c in candidates if c.name in tied])]
    behind = [c for c in rivals if c.other not in tied]
    if behind:
        gaps = join([f"{c.other} by {_gap(metric, c)}" for c in sorted(behind, key=lambda c: c.difference)])
        details.append(f"Behind {tied[0]} beyond doubt: {gaps}.")
    return Verdict(
        kind="too_close",
        headline=f"Too close to call: {join(tied)} cannot be told apart.",
        details=[text for text in details if text],
        tied=tied,
    )


def _cheapest(group: Sequence[CandidateResult]) -> str:
    """Which of a tied group to take: the one that trains fastest, and the one that answers fastest."""
    training = [c for c in group if c.costs.train_tokens_per_second]
    serving = [c for c in group if c.costs.token_latency_ms]
    if not training:
        return ""
    quick = max(training, key=lambda c: c.costs.train_tokens_per_second or 0.0)
    text = f"The cheapest of them to train is {quick.name} ({rate(quick.costs.train_tokens_per_second)} tokens/s)"
    if serving:
        prompt = min(serving, key=lambda c: c.costs.token_latency_ms or 0.0)
        latency = f"{amount(prompt.costs.token_latency_ms)} ms a token"
        same = prompt.name == quick.name
        text += (
            f", which also streams fastest ({latency})"
            if same
            else f"; {prompt.name} streams fastest ({latency})"
        )
    return text + "."


def _single(metric: MetricInfo, best: Row, benches: Sequence[Row]) -> Verdict:
    headline = f"{best.name} scores {metric.name} {score_with_unit(metric, best.score)}"
    headline += " and beats every reference." if benches else "."
    return Verdict(
        kind="single", headline=headline, details=["No other candidate finished to compare it with."]
    )


def _no_model_needed(
    metric: MetricInfo, best: Row, tied: list[str], top: Row, against: Sequence[Contrast]
) -> Verdict:
    contrast = next(c for c in against if c.other == top.name)
    ahead = contrast.difference < 0 and contrast.p < LEVEL
    relation = "is better than every candidate" if ahead else "is as good as every candidate"
    return Verdict(
        kind="no_model_needed",
        headline=f"No sequence model is needed here: the reference “{top.name}” "
        f"({metric.name} {score_with_unit(metric, top.score)}) {relation}.",
        details=[
            _beside(metric, f"The best candidate, {best.name},", best, top, contrast),
            "This holds for this budget; a longer one may let a candidate pass it.",
        ],
        tied=tied if len(tied) > 1 else [],
    )


def _may_need_no_model(metric: MetricInfo, order: Sequence[Row], unbeaten: Sequence[Row]) -> Verdict:
    top = unbeaten[0]
    close = _may_lead(metric, order, top)
    contrast = _contrasts(metric, [(row, top) for row in order])[order.index(close[0])]
    return Verdict(
        kind="too_close",
        headline=f"Too close to call: {join([row.name for row in close])} cannot be told from the reference "
        f"“{top.name}” ({metric.name} {score_with_unit(metric, top.score)}).",
        details=[
            _beside(metric, close[0].name, close[0], top, contrast),
            f"Nothing shows that a sequence model is needed, nor that none is; until then “{top.name}” is the cheaper.",
        ],
        tied=[row.name for row in close],
    )


def _beside(metric: MetricInfo, name: str, row: Row, top: Row, contrast: Contrast) -> str:
    """A candidate, called by a name, beside a reference that it does not beat."""
    score = f"{name} scores {score_with_unit(metric, row.score)}"
    if contrast.difference == 0:
        low, high = format_scores(metric, [contrast.low, contrast.high], digits=3)
        return f"{score}, as {top.name} does (95% interval of the difference {low} to {high})."
    behind = contrast.difference < 0
    if behind:
        mirrored = {"difference": -contrast.difference, "low": -contrast.high, "high": -contrast.low}
        contrast = contrast.model_copy(update=mirrored)
    return f"{score}, {'behind' if behind else 'ahead of'} {top.name} by {_gap(metric, contrast)}."


def _nothing(metric: MetricInfo, candidates: Sequence[CandidateResult], benches: Sequence[Row]) -> Verdict:
    details = []
    if benches:
        top = sorted(benches, key=lambda row: row.score, reverse=metric.higher_is_better)[0]
        details.append(
            f"The best reference is “{top.name}”: {metric.name} {score_with_unit(metric, top.score)}."
        )
    details += _failures(candidates)
    return Verdict(
        kind="nothing", headline="No candidate finished, so there is nothing to compare.", details=details
    )


def _failures(candidates: Sequence[CandidateResult]) -> list[str]:
    failed = [c.name for c in candidates if c.status != "ok"]
    return [f"Did not finish: {join(failed)} (the reasons are in the report)."] if failed else []


def _more(
    metric: MetricInfo,
    rows: Sequence[Row],
    benches: Sequence[Row],
    against: Sequence[Contrast],
    candidates: Sequence[CandidateResult],
    verdict: Verdict,
) -> list[str]:
    details = []
    if benches and all(beaten(c) for c in against):
        contrast = next(c for c in against if c.other == benches[0].name)
        details.append(
            f"The best reference, {benches[0].name}, scores {score_with_unit(metric, benches[0].score)}; "
            f"{contrast.better} beats it by {_gap(metric, contrast)}."
        )
    return details + _few_pieces(rows) + _failures(candidates)


def _few_pieces(rows: Sequence[Row]) -> list[str]:
    """A word where the test samples are too few to tell differences from chance."""
    known = [row.pieces for row in rows if row.pieces is not None]
    if not known or min(known) >= FEW:
        return []
    if min(known) < 1.5:
        text = "The test samples overlap or belong together, and count as one: no difference can be told from chance."
    else:
        text = f"The test split gives only {min(known):.0f} independent samples (those that overlap or belong together "
        text += "count as one): only large differences can be told from chance."
    return [text]
