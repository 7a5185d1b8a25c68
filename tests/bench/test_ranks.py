"""Mean ranks over comparisons."""

from __future__ import annotations

import pytest
from tests.bench.test_real import result

from anyformer.bench.ranks import FEWEST, ranks_table
from anyformer.metrics import MetricInfo

ACCURACY = MetricInfo(name="accuracy", limits=(0, 1), places=3)
MAE = MetricInfo(name="MAE", higher_is_better=False, limits=(0, float("inf")))


@pytest.mark.parametrize(("metric", "better", "worse"), [(ACCURACY, 0.9, 0.8), (MAE, 1.0, 2.0)])
def test_ranks_are_by_the_metric_and_equal_scores_share_them(
    metric: MetricInfo, better: float, worse: float
) -> None:
    first = {
        "a": ("candidate", better),
        "b": ("reference", worse),
        "c": ("candidate", worse),
        "d": ("reference", worse),
    }
    tied = {
        "b": ("reference", better),
        "a": ("candidate", better),
        "d": ("reference", worse),
        "only": ("reference", worse),
    }
    table = ranks_table([result(metric, first)] * (FEWEST - 1) + [result(metric, tied)])
    assert table is not None and {row[0] for row in table.rows} == {metric.name}
    ours, b, d = (
        (FEWEST - 1 + 1.5) / FEWEST,
        (2.5 * (FEWEST - 1) + 1.5) / FEWEST,
        (2.5 * (FEWEST - 1) + 3) / FEWEST,
    )
    assert [(row[1], row[2]) for row in table.rows] == [
        ("our best", f"{ours:.2f}"),
        ("b", f"{b:.2f}"),
        ("d", f"{d:.2f}"),
    ]


def test_few_comparisons_have_no_mean_ranks() -> None:
    one = result(ACCURACY, {"a": ("candidate", 0.9), "b": ("reference", 0.8)})
    assert ranks_table([one] * (FEWEST - 1)) is None
    alone = result(ACCURACY, {"a": ("candidate", 0.9)})
    assert ranks_table([alone] * FEWEST) is None
