"""The candidates that meet the user's limits, and the price of a candidate."""

from __future__ import annotations

from collections.abc import Sequence

from anyformer.compare.plan.limits import Limit
from anyformer.compare.results import CandidateResult
from anyformer.compare.results.formats import amount, count, duration, join, size

EACH = {"token": "a streamed token", "sample": "a sample"}


def outside(candidate: CandidateResult, limits: Sequence[Limit], length: int) -> list[str]:
    """Return how a candidate exceeds limits; what was not measured is not known to meet one.

    Args:
        limits: with what each is of.
        length: the trained length, at which samples and states are measured.
    """
    found = []
    for limit in limits:
        value = _measured(candidate, limit, length)
        if value is None:
            found.append(_unknown(candidate, limit))
        elif value > limit.amount:
            found.append(_figure(limit, value))
    return found


def _measured(candidate: CandidateResult, limit: Limit, length: int) -> float | None:
    costs = candidate.costs
    values = {
        "token": costs.token_latency_ms,
        "sample": costs.prefill_ms.get(length),
        "model": candidate.saved_bytes,
        "state": costs.state_bytes.get(length),
    }
    return values[limit.of or "token"]


def _unknown(candidate: CandidateResult, limit: Limit) -> str:
    notes = [note for note in candidate.costs.notes if note.startswith("does not stream")]
    if notes and limit.of in ("token", "state"):
        return "does not stream"
    what = {"token": "latency", "sample": "latency", "model": "size", "state": "state"}[limit.of or "token"]
    return f"its {what} was not measured"


def _figure(limit: Limit, value: float) -> str:
    if limit.of in EACH:
        return f"{amount(value)} ms {EACH[limit.of]}"
    return f"{size(value)} {'saved' if limit.of == 'model' else 'of state'}"


def told(candidates: Sequence[CandidateResult], limits: Sequence[Limit]) -> str:
    """Return the sentence about the limits and the candidates outside them."""
    asked = f"the limits (at most {join([_figure(limit, limit.amount) for limit in limits])})"
    names = [f"{c.name} ({join(c.outside)})" for c in candidates if c.outside]
    if not names:
        return f"All candidates that finished are within {asked}."
    return (
        f"Only candidates within {asked} can win; outside {'is' if len(names) == 1 else 'are'} {join(names)}."
    )


def price(candidate: CandidateResult, length: int) -> str:
    """Return the sentence about what a candidate costs."""
    parts = [f"{count(candidate.parameters)} parameters"] if candidate.parameters else []
    if candidate.saved_bytes:
        parts[-1:] = [f"{parts[-1]} ({size(candidate.saved_bytes)} saved)"] if parts else []
    if candidate.fit_seconds is not None:
        parts.append(f"{duration(candidate.fit_seconds)} of training a run")
    costs = candidate.costs
    if costs.token_latency_ms:
        parts.append(f"{amount(costs.token_latency_ms)} ms {EACH['token']}")
    elif length in costs.prefill_ms:
        parts.append(f"{amount(costs.prefill_ms[length])} ms {EACH['sample']}")
    return f"Its price here: {join(parts)}." if parts else ""
