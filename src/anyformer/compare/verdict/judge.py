"""The judge: from scores to a leaderboard with intervals, and to a verdict in words.

Intervals come from :mod:`anyformer.compare.verdict.confidence_intervals`. Each statement is made with a probability of
at most 5% if it is false, after Holm's correction (1979) for the number of entries:

A winner
    differs from *every* other candidate at the 5% level, and by more than half a percent of the score: smaller
    differences do not matter, and close to a perfect score three seeds say too little about the variance. Otherwise
    the verdict is "too close to call", and names the group that the data cannot separate.
A reference is beaten
    if some candidate differs from it in the same way.
No sequence model is needed
    if some reference is not beaten, and the 90% interval of the difference excludes a lead that matters for *every*
    candidate: absence of evidence is not evidence of absence. If such a lead remains possible, candidate and reference
    are too close to call.
Candidates that were stopped
    (:mod:`anyformer.compare.verdict.stopping`) are on the leaderboard, scored as they were then. They are neither
    beaten nor tied: statements are about the candidates trained to the end, and say so. Only where the best of these
    is not even ahead of a stopped one, the verdict is too close to call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyformer.compare.results import (
    CandidateResult,
    Contrast,
    EarlyStop,
    ReferenceResult,
    Standing,
    Verdict,
)
from anyformer.compare.results.formats import amount, format_scores, join, rate, score_with_unit
from anyformer.compare.verdict.confidence_intervals import LEVEL, ScoredEntry
from anyformer.compare.verdict.leaderboard import contrasts_by, leaderboard_of, ordered
from anyformer.compare.verdict.significance import advantage, beaten, smallest_that_matters
from anyformer.compare.verdict.stopping import stopped_words
from anyformer.compare.verdict.ties import Ties
from anyformer.metrics import MetricInfo

FEW = 8
"""With fewer pieces of evidence the verdict adds a warning."""


def judge(
    metric: MetricInfo, candidates: Sequence[CandidateResult], references: Sequence[ReferenceResult]
) -> tuple[list[Standing], Verdict]:
    """Return the leaderboard, best first, and the verdict, which is on the candidates within the user's limits."""
    entries = [
        ScoredEntry(c.name, tuple(run.test for run in c.runs))
        for c in candidates
        if c.status == "ok" and c.runs
    ]
    reference_entries = [
        ScoredEntry(r.name, (r.test,), is_reference=True) for r in references if r.test is not None
    ]
    stopped = {c.name: c.stopped for c in candidates if c.stopped is not None}
    every, reference_entries = (ordered(metric, given) for given in (entries, reference_entries))
    candidates = [c for c in candidates if not c.outside]
    inside = {c.name for c in candidates}
    board = ordered(metric, [*every, *reference_entries])
    every, beyond = [e for e in every if e.name in inside], [e for e in every if e.name not in inside]
    order = [entry for entry in every if entry.name not in stopped]
    ties = Ties.found(metric, order, reference_entries)
    leaderboard = leaderboard_of(metric, board, ties.best, stopped)
    if not order:
        return leaderboard, _nothing(metric, candidates, reference_entries, beyond)
    tied = [entry.name for entry in ties.candidates]
    enough = [reference for reference in ties.unbeaten if not _may_lead(metric, order, reference)]
    if enough:
        verdict = _no_model_needed(metric, ties, enough[0])
    elif ties.unbeaten:
        verdict = _may_need_no_model(metric, ties)
    elif len(order) == 1:
        verdict = _single(metric, order[0], reference_entries)
    elif len(tied) > 1:
        verdict = _too_close(metric, tied, candidates, ties.rivals)
    else:
        verdict = _winner(metric, order[0], ties.rivals, stopped)
    verdict = _unless_stopped_too_soon(metric, verdict, order[0], [e for e in every if e.name in stopped])
    verdict.best = tied
    verdict.contrasts = [*ties.rivals, *ties.strongest]
    verdict.details += _more(
        metric, [*order, *reference_entries], reference_entries, ties.strongest, candidates, verdict
    )
    return leaderboard, verdict


def _may_lead(metric: MetricInfo, order: Sequence[ScoredEntry], reference: ScoredEntry) -> list[ScoredEntry]:
    """Return the candidates that may be better than the reference by more than matters (one-sided 5% level)."""
    leads = [
        advantage(entry, reference, higher_is_better=metric.higher_is_better, limits=metric.limits).interval(
            2 * LEVEL
        )
        for entry in order
    ]
    return [
        entry
        for entry, lead in zip(order, leads, strict=True)
        if lead[1] > smallest_that_matters(entry, reference)
    ]


def _gap(metric: MetricInfo, contrast: Contrast) -> str:
    gap, low, high = format_scores(metric, [contrast.difference, contrast.low, contrast.high], digits=3)
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{gap}{unit} (95% interval {low} to {high})"


def _winner(
    metric: MetricInfo, best: ScoredEntry, rivals: Sequence[Contrast], stopped: Mapping[str, EarlyStop]
) -> Verdict:
    runner_up = rivals[0]
    among = f" of the {len(rivals) + 1} trained to the end" if stopped else ""
    return Verdict(
        kind="winner",
        winner=best.name,
        headline=f"{best.name} is the best{among}: {metric.name} {score_with_unit(metric, best.score)}.",
        details=[f"It leads the runner-up, {runner_up.other}, by {_gap(metric, runner_up)}."],
    )


def _unless_stopped_too_soon(
    metric: MetricInfo, verdict: Verdict, best: ScoredEntry, stopped: Sequence[ScoredEntry]
) -> Verdict:
    """Return the verdict, or one of the kind ``too_close`` if the best is not ahead of a candidate that was stopped.

    That the best is ahead of others, which were trained for less, is not told as a finding.
    """
    found = contrasts_by(metric, [(best, entry) for entry in stopped])
    level = [contrast.other for contrast in found if not beaten(contrast)]
    if not level or verdict.kind not in ("winner", "single"):
        return verdict
    return Verdict(
        kind="too_close",
        headline=f"Too close to call: {best.name} cannot be told from {join(level)}, though "
        f"{'that was' if len(level) == 1 else 'those were'} not trained to the end.",
        details=["Train all to the end with --equal steps."],
        tied=[best.name, *level],
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
    """Name the candidates of a tied group that train and stream fastest, in a sentence."""
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


def _single(metric: MetricInfo, best: ScoredEntry, reference_entries: Sequence[ScoredEntry]) -> Verdict:
    headline = f"{best.name} scores {metric.name} {score_with_unit(metric, best.score)}"
    headline += " and beats every reference." if reference_entries else "."
    return Verdict(
        kind="single", headline=headline, details=["No other candidate finished to compare it with."]
    )


def _no_model_needed(metric: MetricInfo, ties: Ties, top: ScoredEntry) -> Verdict:
    best = ties.order[0]
    relation = "is better than every candidate" if ties.ahead_of_all(top) else "is as good as every candidate"
    tied = [entry.name for entry in ties.candidates]
    return Verdict(
        kind="no_model_needed",
        headline=f"No sequence model is needed here: the reference “{top.name}” "
        f"({metric.name} {score_with_unit(metric, top.score)}) {relation}.",
        details=[
            _beside(metric, f"The best candidate, {best.name},", best, top, ties.contrast(best, top)),
            "This holds for this budget; a longer one may let a candidate pass it.",
        ],
        tied=tied if len(tied) > 1 else [],
    )


def _may_need_no_model(metric: MetricInfo, ties: Ties) -> Verdict:
    top = ties.unbeaten[0]
    close, others = ties.tied_with(top), [f"“{one.name}”" for one in ties.unbeaten[1:]]
    return Verdict(
        kind="too_close",
        headline=f"Too close to call: {join([entry.name for entry in close])} cannot be told from the reference "
        f"“{top.name}” ({metric.name} {score_with_unit(metric, top.score)}).",
        details=[
            _beside(metric, close[0].name, close[0], top, ties.contrast(close[0], top)),
            f"Nothing shows that a sequence model is needed, nor that none is; until then “{top.name}” is the cheaper.",
            *([f"No candidate is ahead of {join(others)} beyond chance either."] if others else []),
        ],
        tied=[entry.name for entry in close],
    )


def _beside(metric: MetricInfo, name: str, entry: ScoredEntry, top: ScoredEntry, contrast: Contrast) -> str:
    """Describe a candidate beside a reference that it does not beat, in a sentence."""
    score = f"{name} scores {score_with_unit(metric, entry.score)}"
    if contrast.difference == 0:
        low, high = format_scores(metric, [contrast.low, contrast.high], digits=3)
        return f"{score}, as {top.name} does (95% interval of the difference {low} to {high})."
    behind = contrast.difference < 0
    if behind:
        mirrored = {"difference": -contrast.difference, "low": -contrast.high, "high": -contrast.low}
        contrast = contrast.model_copy(update=mirrored)
    return f"{score}, {'behind' if behind else 'ahead of'} {top.name} by {_gap(metric, contrast)}."


def _nothing(
    metric: MetricInfo,
    candidates: Sequence[CandidateResult],
    reference_entries: Sequence[ScoredEntry],
    beyond: Sequence[ScoredEntry],
) -> Verdict:
    details = []
    if reference_entries:
        top = sorted(reference_entries, key=lambda entry: entry.score, reverse=metric.higher_is_better)[0]
        details.append(
            f"The best reference is “{top.name}”: {metric.name} {score_with_unit(metric, top.score)}."
        )
    details += _failures(candidates)
    headline = "No candidate finished, so there is nothing to compare."
    if beyond:
        headline = (
            f"No candidate is within the limits; the best without them is {beyond[0].name}: {metric.name} "
        )
        headline += f"{score_with_unit(metric, beyond[0].score)}."
    return Verdict(kind="nothing", headline=headline, details=details)


def _failures(candidates: Sequence[CandidateResult]) -> list[str]:
    failed = [c.name for c in candidates if c.status != "ok"]
    return [f"Did not finish: {join(failed)} (the reasons are in the report)."] if failed else []


def _more(
    metric: MetricInfo,
    entries: Sequence[ScoredEntry],
    reference_entries: Sequence[ScoredEntry],
    against: Sequence[Contrast],
    candidates: Sequence[CandidateResult],
    verdict: Verdict,
) -> list[str]:
    details = []
    if reference_entries and all(beaten(c) for c in against):
        best = reference_entries[0]
        contrast = next(c for c in against if c.other == best.name)
        details.append(
            f"The best reference, {best.name}, scores {score_with_unit(metric, best.score)}; "
            f"{contrast.better} beats it by {_gap(metric, contrast)}."
        )
    return details + stopped_words(metric, candidates) + _few_pieces(entries) + _failures(candidates)


def _few_pieces(entries: Sequence[ScoredEntry]) -> list[str]:
    """Return a warning if the test samples are too few to tell differences from chance."""
    known = [entry.pieces for entry in entries if entry.pieces is not None]
    if not known or min(known) >= FEW:
        return []
    if min(known) < 1.5:
        text = "The test samples overlap or belong together, and count as one: no difference can be told from chance."
    else:
        text = f"The test split gives only {min(known):.0f} independent samples (those that overlap or belong together "
        text += "count as one): only large differences can be told from chance."
    return [text]
