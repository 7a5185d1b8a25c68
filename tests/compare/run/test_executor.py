"""Units of real training, run in this process."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from anyformer.compare.plan.make import OpenedTask, make_plan
from anyformer.compare.plan.names import named_models
from anyformer.compare.plan.request import check_request
from anyformer.compare.plan.schema import Final, Leg, Plan, Rounds
from anyformer.compare.results import EarlyStop
from anyformer.compare.run.executor import CHECKPOINT, TrainingExecutor, _Job
from anyformer.compare.run.items import ITEMS, load_items
from anyformer.compare.run.training import Run
from anyformer.compare.run.unit import Unit
from anyformer.compare.run.worker import Heartbeat, Stopped, UnitFailed
from anyformer.models import SequenceModel
from anyformer.tasks import create_task
from anyformer.tasks.fingerprint import DataChanged, Fingerprint, files_of, sample_of_task
from anyformer.tasks.mapped import mapped
from anyformer.train.schedule import Knots, changed, top, whole

STEPS = 24


def legs_of(schedule: Knots, *, ends: tuple[int, ...] = ()) -> list[Leg]:
    """Legs that end at the fall of the learning rate and at the end, or elsewhere."""
    ends = ends or (top(schedule), schedule[-1][0])
    return [Leg(steps=end, schedule=schedule, every=6, curve_items=8) for end in ends]


@pytest.fixture
def task():
    return create_task("recall", num_pairs=2, length=12, vocab_size=8)


@pytest.fixture
def plan(task, tmp_path) -> Plan:
    request = check_request(
        budget=f"{STEPS} steps",
        hold="parameters",
        equal="budget",
        seeds=3,
        workers=1,
        parameters=8000,
        batch_size=8,
    )
    options = {"num_pairs": 2, "length": 12, "vocab_size": 8}
    plan = make_plan(
        request, [OpenedTask(task, "recall", None, options)], named_models("transformer,linformer")
    )
    plan.tasks[0].rounds = Rounds(steps=(8, 12), valid_items=20)
    plan.tasks[0].legs = legs_of(whole(STEPS))
    plan.tasks[0].final = Final(
        steps=STEPS, evaluations=4, curve_items=8, valid_items=20, test_items=30, length_items=10
    )
    plan.save(tmp_path)
    return plan


def unit(phase: str, **fields) -> Unit:
    return Unit(task="recall", phase=phase, candidate="transformer", **fields)


def run_units(plan: Plan, seed: int = 0, rate: float = 3e-3) -> list[Unit]:
    """All legs of a full run, and its test."""
    legs = plan.tasks[0].legs_of("transformer")
    phases = [("train", leg) for leg in legs] + [("score", legs[-1])]
    return [
        unit(phase, steps=leg.steps, learning_rate=rate, seed=seed, schedule=leg.schedule)
        for phase, leg in phases
    ]


def execute(tmp_path, work: Unit, heartbeat: Heartbeat | None = None):
    folder = home(tmp_path, work)
    folder.mkdir(exist_ok=True, parents=True)
    return TrainingExecutor(tmp_path).execute(work, folder, heartbeat or Heartbeat(folder))


def home(tmp_path, work: Unit):
    return tmp_path / "units" / work.id


def full_run(plan: Plan, folder):
    plan.save(folder)
    return [execute(folder, work) for work in run_units(plan)][-1]


def without_seconds(data):
    curve = [point.model_copy(update={"seconds": 0.0}) for point in data.curve]
    return data.model_copy(update={"seconds": 0.0, "curve": curve})


def test_a_full_run(plan, tmp_path):
    data = full_run(plan, tmp_path)
    assert [point.step for point in data.curve] == [6, 12, 18, 24]
    assert data.curve[-1].tokens == STEPS * 8 * 12
    test = data.test
    assert len(test.sums) == 30, "a piece of evidence for each sample"
    assert data.score == pytest.approx(sum(test.sums) / sum(test.weights))
    assert {length: len(found.sums) for length, found in data.by_length.items()} == {24: 10, 48: 10}
    first, last, score = run_units(plan)
    assert (home(tmp_path, score) / "model" / "model.safetensors").exists()
    assert (home(tmp_path, first) / CHECKPOINT).exists(), "longer runs go on from there"
    assert not (home(tmp_path, last) / CHECKPOINT).exists()
    assert not (home(tmp_path, score) / CHECKPOINT).exists()


class Impatient(Heartbeat):
    """Told to stop after some steps."""

    def __init__(self, folder, steps: int) -> None:
        self.event = threading.Event()
        super().__init__(folder, self.event)
        self.steps = steps

    def tell(self, **progress) -> None:
        if progress["step"] >= self.steps:
            self.event.set()


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(plan, tmp_path):
    whole_run = full_run(plan, tmp_path)
    parts = tmp_path / "parts"
    plan.save(parts)
    first, last, score = run_units(plan)
    for steps in (4, 13):
        with pytest.raises(Stopped):
            execute(parts, first, Impatient(home(parts, first), steps))
        assert (home(parts, first) / CHECKPOINT).exists()
    execute(parts, first)
    with pytest.raises(Stopped):
        execute(parts, last, Impatient(home(parts, last), 20))
    execute(parts, last)
    assert without_seconds(execute(parts, score)) == without_seconds(whole_run)


def test_legs_whose_checkpoints_are_lost_or_damaged_are_trained_again(plan, tmp_path):
    whole_run = full_run(plan, tmp_path)
    parts = tmp_path / "parts"
    plan.save(parts)
    first, last, score = run_units(plan)
    execute(parts, first)
    (home(parts, first) / CHECKPOINT).write_bytes(b"damaged")
    execute(parts, last)
    (home(parts, last) / CHECKPOINT).unlink()
    assert without_seconds(execute(parts, score)) == without_seconds(whole_run)


@pytest.mark.parametrize("stride", [1.0, 1.7])
def test_a_run_that_is_gone_on_with_is_one_in_one_go(plan, tmp_path, stride):
    """Bit for bit: the same steps under the same learning rates, wherever its legs ended; also of a fast candidate."""
    plan.tasks[0].strides = {"transformer": stride}
    assert [p.step for p in full_run(plan, tmp_path).curve] == [int(n * stride) for n in (6, 12, 18, 24)]
    longer = changed(whole(STEPS), top(whole(STEPS)), 40)
    task = plan.tasks[0]
    task.legs = [task.legs[0], *legs_of(longer, ends=(25, 33, 40))]
    gone_on = full_run(plan, tmp_path)
    task.legs = legs_of(longer, ends=(40,))
    at_once = full_run(plan, tmp_path / "at_once")
    assert without_seconds(gone_on) == without_seconds(at_once)
    names = [f"{folder}/units/{run_units(plan)[-1].id}/model" for folder in (tmp_path, tmp_path / "at_once")]
    one, other = (SequenceModel.from_pretrained(name).state_dict() for name in names)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def overfitting(monkeypatch):
    """Validation scores by step that rise and fall; the items that are right are always the same ones."""

    def of(peak: int, *, loss: bool = True):
        def evaluate(self, trainer, split, items, **options):
            found = true(self, trainer, split, items, **options)
            if split == "valid":
                weights = sum(float(p.detach().double().sum()) for p in trainer.model.parameters())
                step = steps.setdefault(weights, trainer.step)
                level = 0.9 - 0.08 * abs(step - peak) / 6
                right = np.arange(len(found.items)) < level * len(found.items)
                found = replace(found, items=np.stack([right * found.items[:, 1], found.items[:, 1]], 1))
                if found.loss is not None:
                    found = replace(found, loss=1 - level if loss else level)
            return found

        steps: dict[float, int] = {}
        true = _Job.evaluate
        monkeypatch.setattr(_Job, "evaluate", evaluate)

    return of


def test_the_best_weights_are_scored_and_saved(plan, tmp_path, overfitting):
    plan.tasks[0].legs = legs_of(whole(STEPS), ends=(12,))
    at_twelve = full_run(plan, tmp_path / "short")
    overfitting(12)
    plan.tasks[0].legs = legs_of(whole(STEPS))
    plan.tasks[0].final.valid_items = 1000
    data = full_run(plan, tmp_path)
    assert (data.best_step, data.steps) == (12, STEPS)
    assert data.test == at_twelve.test
    one, other = (
        SequenceModel.from_pretrained(f"{folder}/units/{unit_id}/model").state_dict()
        for folder, unit_id in (
            (tmp_path, run_units(plan)[-1].id),
            (tmp_path / "short", next((tmp_path / "short" / "units").glob("*-score-*")).name),
        )
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    parts = tmp_path / "parts"
    plan.save(parts)
    first, last, score = run_units(plan)
    for work, steps in ((first, 7), (first, 14), (last, 19)):
        with pytest.raises(Stopped):
            execute(parts, work, Impatient(home(parts, work), steps))
    execute(parts, last)
    assert without_seconds(execute(parts, score)) == without_seconds(data), "and so where it was stopped"


def test_a_better_score_with_a_worse_loss_is_taken_for_chance(plan, tmp_path, overfitting):
    overfitting(12, loss=False)
    plan.tasks[0].legs = legs_of(whole(STEPS))
    plan.tasks[0].final.valid_items = 1000
    data = full_run(plan, tmp_path)
    assert (data.best_step, data.steps) == (STEPS, STEPS)


def test_who_was_stopped_is_scored_as_it_was(plan, tmp_path):
    """From its last checkpoint, again after more training of the others, and from the start where that is lost."""
    planned = plan.tasks[0]
    planned.legs = legs_of(whole(STEPS), ends=(12, top(whole(STEPS)), STEPS))
    planned.stopped = {"transformer": EarlyStop(steps=12, behind=0.1, best="other")}
    plan.save(tmp_path)
    first, *_, last = run_units(plan)
    execute(tmp_path, first)
    found = execute(tmp_path, last.model_copy(update={"steps": 12}))
    assert (found.steps, found.best_step, found.curve[-1].step) == (12, 12, 12)
    longer = changed(whole(STEPS), top(whole(STEPS)), 40)
    planned.legs = [*planned.legs[:2], *legs_of(longer, ends=(40,))]
    for folder in (tmp_path, tmp_path / "anew"):
        plan.save(folder)
        work = run_units(plan)[-1].model_copy(update={"steps": 12})
        assert without_seconds(execute(folder, work)) == without_seconds(found)


def test_divergence_is_told(plan, tmp_path):
    with pytest.raises(UnitFailed, match=r"loss was (nan|inf) at step \d+") as caught:
        execute(tmp_path, run_units(plan, rate=1e30)[-1])
    assert caught.value.status == "diverged"


def test_other_units(plan, tmp_path, task):
    calibration = execute(tmp_path, unit("calibrate"))
    assert calibration.eval_seconds > 0
    assert calibration.step_seconds > 0
    assert 0 <= calibration.untrained < 0.5
    search = execute(tmp_path, unit("search", steps=8, learning_rate=1e-3, seed=0))
    assert math.isfinite(search.loss)
    reference = Unit(task="recall", phase="reference", candidate="any value seen")
    fitted = execute(tmp_path, reference)
    assert fitted.fit_seconds >= 0 and fitted.predict_ms > 0
    for length in (None, 24, 48):
        path = home(tmp_path, reference) / ITEMS
        assert len(load_items(path, task, plan.tasks[0].split_items["test"], length=length)) == 1024
        assert len(load_items(path, task, 7, length=length)) == 7


def test_what_cannot_be_built_is_a_problem_of_that_candidate(plan):
    good, bad = plan.tasks[0].candidates
    assert not good.problem
    assert abs(good.parameters / 8000 - 1) <= 0.02
    assert "linformer" in bad.problem or "later tokens" in bad.problem
    assert plan.tasks[0].buildable == [good]


def test_what_is_kept_on_the_way_costs_little(plan, tmp_path, task, monkeypatch):
    """Under a clock that only steps and checkpoints move: 2% of the time for checkpoints, a few words a second."""
    now, saves, words = [0.0], [], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    job = _Job(
        plan,
        plan.tasks[0],
        task,
        unit("search", steps=6000, learning_rate=1e-3),
        tmp_path,
        Heartbeat(tmp_path),
    )
    trainer = job.trainer()

    def step() -> float:
        now[0] += 0.05
        return 1.0

    def save(path, **facts) -> None:
        now[0] += 0.3
        saves.append(now[0])

    monkeypatch.setattr("os.replace", lambda *names: words.append(now[0]))
    monkeypatch.setattr(trainer, "_step", step)
    monkeypatch.setattr(trainer, "save", save)
    job.advance(Run(trainer))
    assert trainer.step == 6000
    assert 0.01 * now[0] < 0.3 * len(saves) <= 0.02 * now[0] + 0.6
    assert 1.0 < len(words) / now[0] <= 1 / 0.4


def test_a_task_in_files_is_not_read_from_its_source_again(plan, tmp_path, task, monkeypatch):
    path, planned = tmp_path / "data.csv", plan.tasks[0]
    path.write_text("a\n1\n")
    planned.source, planned.data = str(path), Fingerprint(files=files_of(str(path)))
    monkeypatch.setattr("anyformer.tasks.mapped.LEAST", 0)
    monkeypatch.setattr(
        "anyformer.compare.run.executor.task_of", lambda plan: pytest.fail("it is read again")
    )
    with mapped({planned.name: task}, tmp_path / "columns") as held:
        made = TrainingExecutor(tmp_path, mapped=held).task(planned)
        assert sample_of_task(made) == sample_of_task(task)
        path.write_text("a\n2\n")
        with pytest.raises(DataChanged, match=r"data\.csv has other content"):
            TrainingExecutor(tmp_path, mapped=held).task(planned)
