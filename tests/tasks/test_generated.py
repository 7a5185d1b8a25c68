from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.objectives import IGNORED
from anyformer.tasks import Task, create_task, list_tasks, score_reference

GENERATED = [
    "copy",
    "listops",
    "recall",
    "selective_copy",
    "state_tracking",
    "translation",
    "vortices",
    "wallpaper",
]


def all_of(task: Task, split: Any, length: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(task.eval_batches(split, 100, length=length))
    return torch.cat([b.x for b in batches]), torch.cat([b.targets for b in batches])


@pytest.mark.parametrize("name", GENERATED)
class TestEveryGeneratedTask:
    def test_batches_depend_on_seed_and_step_only(self, name: str) -> None:
        first, again, other = (create_task(name, seed=s) for s in (3, 3, 4))
        first.train_batch(0, 8)  # what was asked before does not matter
        a, b, c = (task.train_batch(70, 16) for task in (first, again, other))
        assert torch.equal(a.x, b.x) and torch.equal(a.targets, b.targets)
        assert not torch.equal(a.x, c.x)
        assert not torch.equal(a.x, first.train_batch(71, 16).x)

    def test_samples_do_not_depend_on_the_batch_size(self, name: str) -> None:
        task = create_task(name)
        whole = task.train_batch(1, 1500).x
        parts = torch.cat([task.train_batch(step, 100).x for step in range(15, 30)])
        assert torch.equal(whole, parts)

    def test_splits_share_no_sample(self, name: str) -> None:
        task = create_task(name, **({"length": 64} if name in ("copy", "listops") else {}))
        rows = [
            {bytes(row.numpy()) for row in all_of(task, split)[0]} for split in ("train", "valid", "test")
        ]
        assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]

    def test_every_length_has_its_samples(self, name: str) -> None:
        task = create_task(name)
        for length in (task.train_length, *task.lengths):
            x, targets = all_of(task, "test", length)
            assert x.shape == (task.size("test"), length)
            assert x.dtype == torch.int64 and int(x.min()) >= 0 and int(x.max()) < (task.vocab_size or 0)
            assert (targets != IGNORED).any()
        with pytest.raises(ValueError, match=rf"length must be one of {task.train_length}, .* got 7"):
            next(iter(task.eval_batches("test", 4, length=7)))

    def test_a_batch_costs_well_below_a_millisecond_a_sample(self, name: str) -> None:
        import time

        task = create_task(name)
        begin = time.process_time()
        for step in range(64):
            task.train_batch(step, 32)
        assert (time.process_time() - begin) / (64 * 32) < 5e-4

    def test_references_are_scored_and_chance_is_beaten_by_no_constant(self, name: str) -> None:
        task = create_task(name)
        scores = {}
        for reference in task.references():
            scores[reference.name] = score_reference(reference.fit(task), task)
        eighth = {"selective_copy": 1 / 8, "vortices": 0.11, "translation": 0.75 / 16, "wallpaper": 1 / 8}
        chance = {"recall": 1 / 16, "copy": 1 / 16, **eighth}.get(name)
        if name == "state_tracking":
            assert 1 / 5 < scores["first cup"] < 1 / 3  # at first the ball is likelier there
        elif chance:
            assert scores["chance"] == pytest.approx(chance, abs=0.01)
        else:
            assert scores["linear"] > scores["majority"] > 0.1


def test_every_listed_task_can_be_made() -> None:
    assert set(GENERATED) | {"bytes"} <= set(list_tasks())
    for name in list_tasks():
        task = create_task(name)
        assert task.name == name and (task.vocab_size is None) != (task.num_features is None)
        assert task.title.endswith(".") and task.references()


def test_a_misspelt_task_answers_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'recal'; did you mean 'recall'"):
        create_task("recal")
    with pytest.raises(
        ValueError, match="target is for data files; the task 'recall' has none, got target='y'"
    ):
        create_task("recall", target="y")


def test_an_empty_name_and_a_negative_seed() -> None:
    with pytest.raises(
        ValueError, match="name_or_path must be the name of a task or a path, got an empty one"
    ):
        create_task("")
    with pytest.raises(ValueError, match="seed must be an integer at least 0, got -1"):
        create_task("recall", seed=-1)
