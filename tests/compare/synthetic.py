"""Plausible results without training anything."""

from __future__ import annotations

import math

import numpy as np

from anyformer.compare.results import (
    CandidateResult,
    Costs,
    Machine,
    Point,
    ReferenceResult,
    Results,
    Sample,
    SearchRun,
    SeedRun,
    Settings,
    TaskFacts,
    TaskResult,
)
from anyformer.compare.verdict.judge import judge
from anyformer.metrics import MetricInfo

LENGTHS = (64, 128, 256, 512, 1024)


def spread(rng: np.random.Generator, score: float, sd: float, groups: int = 16) -> Sample:
    values = np.clip(rng.normal(score, sd, groups), 0, None)
    return Sample(score=float(values.mean()), sums=[float(v) for v in values * 64], weights=[64.0] * groups)


def _curve(rng: np.random.Generator, start: float, end: float, seconds: float, rise: float) -> list[Point]:
    points = []
    for i in range(1, 13):
        share = i / 12
        valid = end + (start - end) * math.exp(-rise * share) + rng.normal(0, 0.006)
        loss = 0.4 + 3.0 * math.exp(-rise * share)
        points.append(
            Point(step=i * 50, seconds=seconds * share, tokens=i * 102_400, train_loss=loss, valid=valid)
        )
    return points


def _candidate(
    rng: np.random.Generator,
    name: str,
    score: float,
    seconds: float,
    growth: float,
    start: float,
    given: str = "",
) -> CandidateResult:
    runs = []
    for seed in range(3):
        mine = score + float(rng.normal(0, 0.004))
        runs.append(
            SeedRun(
                seed=seed,
                test=spread(rng, mine, 0.01),
                valid=mine,
                seconds=seconds * (1 + 0.02 * seed),
                curve=_curve(rng, start, mine, seconds, rise=5.0),
                by_length={n: start + (mine - start) * (64 / n) ** (0.2 * growth) for n in LENGTHS[1:]},
            )
        )
    costs = Costs(
        train_tokens_per_second=1_228_800 / seconds,
        prefill_ms={n: 0.05 * n**growth for n in LENGTHS},
        token_latency_ms=0.3 + 0.1 * seconds / 10,
        peak_memory_bytes=int(3e6 * seconds / 10),
        memory_bytes={n: int(2e4 * n**growth) for n in LENGTHS},
        state_bytes={n: int(4096 * (n if growth > 1.3 else 4)) for n in LENGTHS},
        flops_per_token=4.1e5 * seconds / 10,
    )
    search = [SearchRun(learning_rate=lr, steps=60, loss=1.5 + 0.1 * i) for i, lr in enumerate((3e-3, 1e-3))]
    search.append(SearchRun(learning_rate=1e-2, steps=60, loss=None))
    return CandidateResult(
        name=name,
        given=given or name,
        parameters=int(200_000 * (1 + rng.uniform(-0.01, 0.01))),
        width=72,
        learning_rate=3e-3,
        search=search,
        runs=runs,
        costs=costs,
    )


def task_result(name: str = "recall", *, higher: bool = True, failed: bool = True) -> TaskResult:
    rng = np.random.default_rng(0)
    metric = MetricInfo(name="accuracy", higher_is_better=True, best=1.0)
    start, scores = 0.05, (0.97, 0.955, 0.62, 0.41, 0.58)
    if not higher:
        metric = MetricInfo(name="bits per byte", higher_is_better=False, unit="bits", best=0.0)
        start, scores = 6.0, (2.41, 2.40, 2.55, 2.39, 2.71)
    specs = [
        ("transformer", 21.0, 1.6, ""),
        ("hybrid", 24.0, 1.4, "[mamba*3, attention(window=64)] dim=72 positions=rope"),
        ("mamba", 33.0, 1.0, ""),
        ("retnet", 17.0, 1.1, ""),
        ("delta_net", 26.0, 1.05, ""),
    ]
    candidates = [
        _candidate(rng, n, score, seconds, growth, start, given)
        for (n, seconds, growth, given), score in zip(specs, scores, strict=True)
    ]
    if failed:
        candidates.append(
            CandidateResult(
                name="s4",
                given="s4",
                status="diverged",
                reason="the loss became NaN at step 31",
            )
        )
        candidates.append(
            CandidateResult(
                name="linformer",
                given="linformer",
                status="bad_spec",
                reason="linformer cannot be causal, and this task predicts the next token",
            )
        )
    tokens = "bigram" if not higher else "most frequent value"
    guess, chance = (0.07, 0.03) if higher else (3.4, 8.0)
    references = [
        ReferenceResult(
            name=tokens,
            description="counts on the training split",
            parameters=4096,
            fit_seconds=0.25,
            predict_ms=0.125,
            test=spread(rng, guess, 0.01),
        ),
        ReferenceResult(
            name="uniform guess",
            description="every token equally likely",
            test=spread(rng, chance, 0.0),
        ),
    ]
    board, verdict = judge(metric, candidates, references)
    return TaskResult(
        task=TaskFacts(
            name=name,
            title="Recall the values of queried keys" if higher else "Predict the next byte of Python source",
            metric=metric,
            train_length=64,
            lengths=list(LENGTHS[1:]),
            facts={"seed": 0, "samples": {"train": 100_000, "valid": 512, "test": 2048}, "train_length": 64},
            notes=["Keys and values are drawn afresh for every sequence."],
        ),
        settings=Settings(
            budget="60s",
            hold="parameters",
            steps=600,
            batch_size=32,
            seeds=[0, 1, 2],
            learning_rates=[1e-3, 3e-3, 1e-2],
            search="Each candidate tried the same rates on runs of 60 steps.",
            schedule="AdamW, warm-up over 10% of the steps, then cosine decay",
            target_parameters=200_000,
        ),
        candidates=candidates,
        references=references,
        leaderboard=board,
        verdict=verdict,
        saved="transformer",
        saved_path="winner",
    )


def results(*tasks: TaskResult) -> Results:
    return Results(
        created="2025-01-31 12:00",
        seconds=97.0,
        command="anyformer compare",
        machine=Machine(
            system="Linux",
            processor="Example CPU @ 2.6 GHz",
            cores=2,
            workers=2,
            threads=1,
            device="CPU",
            python="3.11.7",
            versions={"anyformer": "0.1.0", "torch": "2.13.0"},
        ),
        tasks=list(tasks) or [task_result(), task_result("bytes", higher=False, failed=False)],
    )
