"""The best weights on the curve of a run count, and an overfitted run is over."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anyformer.compare.plan.schema import Leg
from anyformer.compare.results import Sample
from anyformer.compare.run.items import sample_of
from anyformer.compare.run.training import Look, Run, lead
from anyformer.metrics import create_metric
from anyformer.questions import Question
from anyformer.tasks import Evaluation
from anyformer.train.schedule import whole

RATIO = create_metric("accuracy", Question(kind="class", place="whole", num_classes=2))
ITEMS = 400


def evaluation(score: float, seed: int = 0) -> Evaluation:
    """The same samples are hard each time, as for one model in training."""
    hard = np.random.default_rng(seed).permutation(ITEMS)
    right = (hard < score * ITEMS).astype(float)
    return Evaluation(RATIO, np.stack([right, np.ones(ITEMS)], 1), np.arange(ITEMS))


def run_through(scores: list[float], *, untrained: float = 0.1, once: float = 0.0, sign: int = 1) -> Run:
    """A run with these validation scores at its points, until it is over."""
    model = torch.nn.Linear(1, 1, bias=False)
    trainer = SimpleNamespace(step=0, seconds=0.0, losses=[], model=model)
    run = Run(trainer, untrained=sample_of(evaluation(untrained, 7)))  # type: ignore[arg-type]
    leg = Leg(steps=10**6, schedule=whole(10**6), every=10, curve_items=ITEMS)
    for score in scores:
        trainer.step += 10
        trainer.losses += [1.0] * 10
        torch.nn.init.constant_(model.weight, float(trainer.step))
        Look(leg, lambda score=score: evaluation(score), tokens=1, sign=sign, once=once).take(run)
        if run.over:
            break
    return run


def test_the_best_weights_are_kept_and_of_equals_the_later_ones():
    run = run_through([0.3, 0.6, 0.5, 0.6, 0.4])
    assert run.best.step == 40
    assert float(run.best.weights["weight"]) == 40.0, "a copy, and not the weights that are trained on"
    assert [point.valid for point in run.curve] == [0.3, 0.6, 0.5, 0.6, 0.4]
    low = run_through([0.3, 0.2, 0.5], sign=-1)
    assert low.best.step == 20


OVERFITTED = [0.5, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6]
NOTHING_LEARNED = [0.11, *[0.1] * 20]


def test_a_run_that_has_lost_what_it_had_learned_is_over():
    run = run_through(OVERFITTED)
    assert run.over and run.trainer.step == 60, "four points after the best, and as many steps as it took"


@pytest.mark.parametrize(
    "change",
    [
        {"once": 10**5},  # the data has not been seen once
        {"scores": [0.5, 0.8, *[0.79, 0.78] * 10]},  # within the noise and a tenth of what was learned
        {"scores": NOTHING_LEARNED},  # nothing has been learned yet: it may still begin
        {"scores": [*np.linspace(0.1, 0.8, 10), *[0.6] * 9]},  # not for as long as it took to get there
        {"scores": [0.5, 0.8, 0.7, 0.6, 0.6]},
    ],
)
def test_others_go_on(change):
    given = {"scores": OVERFITTED, **change}
    run = run_through(given.pop("scores"), **given)
    assert not run.over


def test_a_lead_is_measured_in_pairs():
    one = Sample(score=0.75, sums=[1, 1, 1, 0], weights=[1, 1, 1, 1])
    other = Sample(score=0.5, sums=[1, 1, 0, 0], weights=[1, 1, 1, 1])
    ahead, error = lead(one, other, 1)
    differences = np.array([0, 0, 1, 0])
    assert ahead == 0.25
    assert error == pytest.approx(differences.std(ddof=1) / 2)
    assert lead(one, other, -1) == (-0.25, error)
    assert lead(one, other.model_copy(update={"sums": [1.0], "weights": [1.0]}), 1)[1] == np.inf
