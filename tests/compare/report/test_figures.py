"""The figures of the report."""

from __future__ import annotations

import synthetic

from anyformer.compare.report.figures import draw_figures, list_figures
from anyformer.compare.report.page import render
from anyformer.compare.report.plotting import styles


def test_no_empty_plots():
    result = synthetic.task_result()
    for candidate in result.candidates:
        candidate.costs = type(candidate.costs)()
        for run in candidate.runs:
            run.curve, run.by_length = run.curve[:1], {}
    look = styles([c.name for c in result.candidates])
    (tradeoff,) = draw_figures(result, look)
    assert tradeoff.id == "tradeoff" and [view.label for view in tradeoff.views] == ["Training time"]
    assert "data-plot" in render(synthetic.results(result))


def test_figures_stand_in_their_order():
    result = synthetic.task_result()
    plots = draw_figures(result, styles([c.name for c in result.candidates]))
    for small, ours in (
        (False, ["tradeoff", "curves", "beyond"]),
        (True, ["growth_prefill", "growth_memory", "growth_state"]),
    ):
        assert [plot.id for plot in plots if plot.small is small and plot.id in ours] == ours
    assert {plot.id for plot in plots} <= set(list_figures())
