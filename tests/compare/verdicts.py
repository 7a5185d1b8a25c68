"""How often the judge errs, and what it finds, by simulation through the judge itself.

Run as a script, it prints the table of ``docs/studies.md`` and writes the file behind it::

    python tests/compare/verdicts.py --draws 1000 --out docs/studies/verdicts.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.compare.results import CandidateResult, ReferenceResult, SeedRun, Verdict
from anyformer.compare.run.items import sample_of
from anyformer.compare.verdict.judge import judge
from anyformer.compare.verdict.significance import beaten
from anyformer.metrics import MetricInfo, create_metric
from anyformer.questions import Question
from anyformer.tasks import Evaluation

METRICS = {
    "binary": MetricInfo(name="accuracy", higher_is_better=True, best=1.0),
    "tokens": MetricInfo(name="accuracy", higher_is_better=True, best=1.0),
    "error": MetricInfo(name="MAE", higher_is_better=False, best=0.0),
}
"""One answer an item, right or wrong; sixteen answers an item; and a skewed error, lognormal."""
SPREADS = {"none": 0.0, "like": 1.0, "larger": 3.0}
"""Deviation of a score over seeds, in deviations of a score over test sets."""
TOKENS = 16
ANY_RATIO = create_metric("accuracy", Question(kind="class", place="whole", num_classes=2))
"""What the statistics are of: a sum and a weight."""


@dataclass(frozen=True)
class Setting:
    """A world to draw comparisons from.

    Attributes:
        metric: of ``METRICS``.
        items: in the test set.
        clusters: how many clusters the items come in; 0 where each stands alone.
        seeds_vary: of ``SPREADS``.
        arms: candidates.
        seeds: runs of each.
        easy: how high the scores are: the mean of the latent value, in deviations.
        gain: by how much the first candidate is better, in latent deviations.
        ordered: whether items come sorted, the hard ones first.
    """

    metric: str = "binary"
    items: int = 100
    clusters: int = 0
    seeds_vary: str = "like"
    arms: int = 2
    seeds: int = 3
    easy: float = 0.5
    gain: float = 0.0
    ordered: bool = False


LIKING, CHANCE = 0.5, 0.3
"""Deviations of how an arm takes to an item, and of what neither item nor seed explains; difficulties have 1."""


def _latent(
    rng: np.random.Generator, s: Setting, shared: np.ndarray, of: np.ndarray, *, gain: float = 0.0
) -> np.ndarray:
    """A candidate's values (seeds, items): by the difficulty of items, its liking for each, the seed, and chance."""
    own = rng.normal(0, LIKING, len(shared))[of]
    if s.seeds_vary == "none":
        return np.tile(s.easy + gain + shared[of] + own + rng.normal(0, CHANCE, len(of)), (s.seeds, 1))
    seed, chance = rng.normal(0, _seed_spread(s), (s.seeds, 1)), rng.normal(0, CHANCE, (s.seeds, len(of)))
    return s.easy + gain + shared[of] + own + seed + chance


def _fixed(rng: np.random.Generator, s: Setting, shared: np.ndarray, of: np.ndarray) -> np.ndarray:
    """A reference's values (1, items). It has no seeds; each item is as likely to be right as for a candidate."""
    own = rng.normal(0, LIKING, len(shared))[of]
    chance = rng.normal(0, math.hypot(CHANCE, _seed_spread(s)), (1, len(of)))
    return s.easy + shared[of] + own + chance


def _seed_spread(s: Setting) -> float:
    return SPREADS[s.seeds_vary] * math.sqrt((1 + LIKING**2) / (s.clusters or s.items))


def _evaluations(
    rng: np.random.Generator, s: Setting, latent: np.ndarray, of: np.ndarray
) -> list[Evaluation]:
    found = []
    for values in latent:
        sums, weights = values > 0, np.ones(s.items)
        if s.metric == "tokens":
            noise = rng.normal(0, 1, (TOKENS, s.items))
            sums, weights = (values + noise > 0).sum(0), weights * TOKENS
        elif s.metric == "error":
            sums = np.exp(-values)
        items = np.stack([sums.astype(float), weights], 1)
        found.append(Evaluation(ANY_RATIO, items, of if s.clusters else np.arange(s.items)))
    return found


def draw(rng: np.random.Generator, s: Setting) -> tuple[Verdict, float]:
    """A verdict on candidates that are equal (but for the gain of the first) and a reference equal to the others.

    Returns the verdict, and the score of the first candidate.
    """
    of = np.arange(s.items) * s.clusters // s.items if s.clusters else np.arange(s.items)
    shared = rng.normal(0, 1, s.clusters or s.items)
    if s.ordered:
        shared.sort()
    candidates = []
    for arm in range(s.arms):
        latent = _latent(rng, s, shared, of, gain=0.0 if arm else s.gain)
        samples = [sample_of(e) for e in _evaluations(rng, s, latent, of)]
        runs = [SeedRun(seed=i, test=sample) for i, sample in enumerate(samples)]
        candidates.append(CandidateResult(name=f"arm{arm}", given="", runs=runs))
    (fixed,) = _evaluations(rng, s, _fixed(rng, s, shared, of), of)
    metric = METRICS[s.metric]
    board, verdict = judge(metric, candidates, [ReferenceResult(name="reference", test=sample_of(fixed))])
    low, high = metric.limits
    for contrast in verdict.contrasts:
        assert low - high <= contrast.low <= contrast.difference <= contrast.high <= high - low
    for row in board:
        assert low <= row.low <= row.score <= row.high <= high
    return verdict, float(np.mean([run.test.score for run in candidates[0].runs]))


@dataclass(frozen=True)
class Rates:
    """Shares of draws in which the verdict said so.

    Attributes:
        winner: a candidate is the best of all candidates.
        first: it is the first one.
        beats: some candidate beats the reference.
        not_needed: no sequence model is needed.
        score: the mean score of the first candidate.
    """

    winner: float
    first: float
    beats: float
    not_needed: float
    score: float


def rates(s: Setting, draws: int, seed: int = 0) -> Rates:
    """What the judge says in so many draws."""
    rng = np.random.default_rng(seed)
    found = [draw(rng, s) for _ in range(draws)]
    rivals = [[c for c in v.contrasts if c.other != "reference"] for v, _ in found]
    won = [bool(cs) and all(map(beaten, cs)) for cs in rivals]
    return Rates(
        winner=float(np.mean(won)),
        first=float(np.mean([w and cs[0].better == "arm0" for w, cs in zip(won, rivals, strict=True)])),
        beats=float(np.mean([beaten(v.contrasts[-1]) for v, _ in found])),
        not_needed=float(np.mean([v.kind == "no_model_needed" for v, _ in found])),
        score=float(np.mean([score for _, score in found])),
    )


ITEMS = (8, 15, 30, 100, 300, 2000)
GAIN = 0.5


def settings() -> Iterator[tuple[Setting, float]]:
    """The worlds of the study, and the share of the draws that each gets."""
    kinds = [Setting(metric=m, seeds_vary=v) for m in METRICS for v in SPREADS]
    yield from ((replace(kind, items=n), 1.0) for kind in kinds for n in ITEMS)
    yield from ((replace(kind, items=300, clusters=20), 0.5) for kind in kinds)
    yield from ((replace(kind, items=100, arms=5), 0.5) for kind in kinds)
    yield from ((replace(kind, items=2000, ordered=True), 0.5) for kind in kinds if kind.seeds_vary == "none")
    yield from ((replace(kind, items=n, gain=GAIN), 0.1) for kind in kinds for n in ITEMS)


def main() -> None:
    """Run the study and print its table; worlds that the file holds already are not drawn again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else []
    for s, share in settings():
        world = {**asdict(s), "draws": round(share * options.draws)}
        if not any(world.items() <= row.items() for row in rows):
            rows.append({**world, **asdict(rates(s, world["draws"]))})
            options.out.write_text(json.dumps(rows, indent=0), encoding="utf-8")
    print(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """For each metric and size: the highest rates of false statements over the worlds, and the power."""
    lines = [
        "| Metric | Items | false winner | false “beats the reference” | false “no model needed” | "
        + " | ".join(f"found, {name}" for name in SPREADS)
        + " |",
        "|---|---:|---:|---:|---:|" + "---:|" * len(SPREADS),
    ]
    for metric, items in itertools.product(METRICS, ITEMS):
        mine = [row for row in rows if row["metric"] == metric and row["items"] == items]
        equal, better = [r for r in mine if not r["gain"]], [r for r in mine if r["gain"]]
        found = {r["seeds_vary"]: r["first"] for r in better if r["gain"] == GAIN}
        worst = [
            max(r[k] for r in rs) for rs, k in ((equal, "winner"), (equal, "beats"), (better, "not_needed"))
        ]
        cells = [metric, str(items), *(f"{100 * rate:.1f} %" for rate in worst)]
        lines.append("| " + " | ".join([*cells, *(f"{100 * found[name]:.0f} %" for name in SPREADS)]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
