"""The table of ``anyformer bench real``."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compare.synthetic import task_result

from anyformer.bench.cases import RealCase
from anyformer.bench.real import folder_of, lead_of, leaderboard_of, summary_of
from anyformer.compare.results import Standing, TaskResult, Verdict
from anyformer.metrics import MetricInfo


def result(metric: MetricInfo, rows: dict[str, tuple[str, float]]) -> TaskResult:
    found = task_result()
    board = [
        Standing(rank=place, name=name, kind=kind, score=score, low=score - 0.1, high=score + 0.1)
        for place, (name, (kind, score)) in enumerate(rows.items(), 1)
    ]
    verdict = Verdict(kind="no_model_needed", headline="No model.")
    return found.model_copy(
        update={
            "task": found.task.model_copy(update={"metric": metric}),
            "leaderboard": board,
            "verdict": verdict,
        }
    )


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "lead"),
    [
        (MetricInfo(name="MAE", higher_is_better=False, limits=(0, float("inf"))), 2.0, 1.5, "-25.0 %"),
        (MetricInfo(name="accuracy", limits=(0, 1), places=3), 0.9, 0.85, "+5.0 points"),
    ],
)
def test_the_lead_is_ours_over_the_best_reference(
    metric: MetricInfo, ours: float, theirs: float, lead: str
) -> None:
    one = result(metric, {"b": ("reference", theirs), "a": ("candidate", ours), "c": ("reference", 9.0)})
    assert lead_of(one, ours, theirs) == lead
    cells = summary_of(one)
    assert cells[1] == "a" and cells[3] == "b" and cells[5] == lead and cells[6] == "no model needed"
    page = leaderboard_of(RealCase(data="x.csv"), one).markdown()
    assert "## x.csv" in page and "1. b (reference)" in page and "No model." in page


def test_a_board_without_a_candidate_has_no_lead() -> None:
    metric = MetricInfo(name="accuracy", limits=(0, 1), places=3)
    assert summary_of(result(metric, {"b": ("reference", 0.5)}))[1:6] == ("–", "–", "b", "0.500", "–")


def test_each_comparison_that_is_asked_for_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Names that look alike, another budget, other seeds, options or data: nothing is taken for something else."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x\n1\n")
    one = RealCase(data="a.csv", name="first")
    asked = [
        (one, "1m", 3),
        (one, "2m", 3),
        (one, "1m", 4),
        (one.model_copy(update={"name": "first!"}), "1m", 3),
        (one.model_copy(update={"name": "日本"}), "1m", 3),
        (one.model_copy(update={"name": "中国"}), "1m", 3),
        (one.model_copy(update={"data": "b.csv"}), "1m", 3),
        (one.model_copy(update={"options": {"horizon": 2}}), "1m", 3),
    ]
    names = [folder_of(tmp_path, *each) for each in asked]
    assert len({*names}) == len(names) and all(names)
    assert folder_of(tmp_path, *asked[0]) == names[0]
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    assert folder_of(tmp_path, *asked[0]) != names[0]
