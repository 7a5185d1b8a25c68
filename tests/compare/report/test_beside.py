"""Metrics besides the one that ranks, in the terminal and in the report."""

from __future__ import annotations

import io

import synthetic
from rich.console import Console

from anyformer.compare.report.beside import beside_columns, beside_rows
from anyformer.compare.report.page import render
from anyformer.compare.report.terminal import print_results
from anyformer.compare.results import Results, TaskResult
from anyformer.metrics import create_metric, metric_info
from anyformer.questions import Question


def measured() -> TaskResult:
    result = synthetic.task_result()
    result.task.beside, result.task.beside_items = (
        [metric_info("chrf"), metric_info("character_error_rate")],
        128,
    )
    for candidate in result.candidates:
        for seed, run in enumerate(candidate.runs):
            run.beside = {"chrF": 50.0 + seed}
    result.references[0].beside = {"chrF": 7.25}
    return result


def test_means_over_seeds_in_the_order_of_the_leaderboard() -> None:
    result = measured()
    assert beside_columns(result) == ["chrF ↑"]  # nothing measured the other
    rows = beside_rows(result)
    assert [name for name, _ in rows] == [row.name for row in result.leaderboard]
    figures = dict(rows)
    assert figures[result.candidates[0].name] == ["51.0"] and figures[result.references[0].name] == ["7.2"]
    assert beside_rows(synthetic.task_result()) == []


def test_both_reports_have_them() -> None:
    results = synthetic.results(measured())
    out = io.StringIO()
    print_results(results, Console(file=out, width=100))
    for text in (out.getvalue(), render(results)):
        assert "Also measured, of 128 test samples" in text and "chrF ↑" in text and "51.0" in text
    assert Results.model_validate_json(results.model_dump_json()) == results
    out = io.StringIO()
    print_results(synthetic.results(synthetic.task_result()), Console(file=out, width=100))
    assert "Also measured" not in out.getvalue()


def test_a_metric_without_a_direction_names_its_best_value() -> None:
    result = measured()
    question = Question(kind="quantiles", place="ahead", levels=(0.1, 0.9))
    result.task.beside = [create_metric("coverage", question).info]
    result.candidates[0].runs[0].beside = {"coverage": 0.75}
    result.candidates[0].runs = result.candidates[0].runs[:1]
    assert beside_columns(result) == ["coverage (best: 0.8)"]
