from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from logs import chains, saved

from anyformer.questions import IGNORED, UNKNOWN
from anyformer.tasks import DataError, open_data, score_reference
from anyformer.tasks.base import SPLITS
from anyformer.tasks.next_item import NextItemTask
from anyformer.train import TrainConfig, Trainer, model_for

MIXERS = (
    *("attention", "fox", "retention", "delta_net", "mamba", "s4", "lstm", "rwkv4", "hyena"),
    *("dilated_attention", "pooling"),
)


def opened(folder: Path, frame: pd.DataFrame, **options: object) -> NextItemTask:
    task = open_data(saved(folder, frame), "item", kind="next", group="user", **options)
    assert isinstance(task, NextItemTask)
    return task


def trained(task: NextItemTask, model: str, steps: int) -> float:
    torch.manual_seed(0)
    trainer = Trainer(model_for(task, model), task, TrainConfig(steps=steps), device="cpu")
    trainer.run()
    return trainer.evaluate("test").value


class TestKnownAnswers:
    def test_an_item_that_follows_another(self, tmp_path: Path) -> None:
        task = opened(tmp_path, chains(), holdout="last", metric="accuracy")
        assert trained(task, "hgrn2", 60) > 0.9

    def test_one_that_the_two_before_decide_and_one_does_not(self, tmp_path: Path) -> None:
        task = opened(tmp_path, chains(users=300, order=2), holdout="last", metric="accuracy")
        markov = next(one for one in task.references() if one.name == "first-order Markov")
        assert trained(task, "hgrn2", 150) > 0.9 > 0.6 > score_reference(markov.fit(task), task)


class TestSamples:
    def test_training_ends_before_what_is_asked(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        task = opened(tmp_path, frame)
        times = frame.sort_values(
            ["user", "time"], key=lambda c: c if c.name == "time" else c.str[1:].astype(int)
        )
        seen = {split: times["time"].to_numpy()[task.log.asked(split)] for split in SPLITS}
        assert max(seen["train"]) < min(seen["valid"]) <= max(seen["valid"]) < min(seen["test"])

    def test_targets_are_the_next_items(self, tmp_path: Path) -> None:
        task = opened(tmp_path, chains(users=40))
        codes = task._fields["item"]
        for split in SPLITS:
            batch = next(task.eval_batches(split, 50))
            assert batch.mask is not None and isinstance(batch.inputs, dict)
            begin, first, end, _ = (one[:50] for one in task._samples[split])
            for row in range(len(begin)):
                real = int(end[row] - begin[row])
                assert batch.mask[row].tolist() == [True] * real + [False] * (task.train_length - real)
                assert batch.inputs["item"][row, :real].tolist() == codes[begin[row] : end[row]].tolist()
                told = batch.targets[row][batch.targets[row] != IGNORED]
                assert told.tolist() == (codes[first[row] + 1 : end[row] + 1] - 2).tolist()
                if batch.at is not None:
                    places = batch.at[row][batch.targets[row] != IGNORED]
                    assert places.tolist() == (np.arange(first[row], end[row]) - begin[row]).tolist()
            assert (batch.at is None) == (split == "train")

    def test_samples_of_a_user_are_one_cluster(self, tmp_path: Path) -> None:
        task = opened(tmp_path, chains(users=12, length=60))
        clusters = task.clusters("test")
        assert len(clusters) > len(np.unique(clusters)) and set(clusters.tolist()) <= set(range(12))

    def test_items_that_training_does_not_have_are_never_right(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        late = frame["time"] > sorted(frame["time"])[-40]
        frame.loc[late, "item"] = "new"
        task = opened(tmp_path, frame)
        assert "new" not in task.item.values
        batch = next(task.eval_batches("test", 100))
        assert (batch.targets == UNKNOWN).sum() > 20
        items = task.metric.measure(torch.zeros(*batch.targets.shape, 20), batch.target)
        assert items[:, 1].sum() == (batch.targets != IGNORED).sum()
        assert "1 more that training shows at most once are read as one, and no answer is right" in " ".join(
            task.notes()
        )
        trainer = Trainer(model_for(task, "hgrn2"), task, TrainConfig(steps=2), device="cpu")
        trainer.run()
        assert np.isfinite(trainer.evaluate("test", with_loss=True).loss)

    def test_rare_items_are_unknown_in_training_too(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        frame.loc[5, "item"] = "once"
        task = opened(tmp_path, frame, holdout="last")
        assert "once" not in task.item.values
        assert UNKNOWN not in torch.cat([batch.targets for batch in task.eval_batches("train", 50)])

    def test_other_columns_and_the_gap_are_inputs(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        frame["page"], frame["amount"] = ["home", "list"] * 320, np.arange(640.0) % 7
        frame.loc[3, "amount"] = np.nan
        task = opened(tmp_path, frame)
        assert task.stream is not None
        fields = {field.name: field.size or field.width for field in task.stream.fields}
        assert fields == {"item": 22, "page": 4, "(numbers)": 4}  # amount, gap, and where each is missing
        batch = task.train_sample(100)
        assert isinstance(batch.inputs, dict)
        numbers = batch.inputs["(numbers)"]
        known = numbers[..., 3] == 0
        assert float(numbers[..., 1][known & batch.mask].abs().mean()) < 2
        assert bool((numbers[..., 1][~known] == 0).all())


class TestOnlyNew:
    def test_items_that_a_user_had_are_neither_asked_nor_ranked(self, tmp_path: Path) -> None:
        frame = chains(users=40, items=20, length=24)  # a permutation has short cycles: items come again
        every, task = opened(tmp_path, frame), opened(tmp_path, frame, only_new=True)
        codes, log = task._fields["item"] - 2, task.log
        for split in SPLITS:
            asked = [
                place
                for place in log.asked(split)
                if codes[place] not in codes[log.starts[log.users[place]] : place]
            ]
            assert (
                task.describe()["events asked"][split] == len(asked) < every.describe()["events asked"][split]
            )
            targets = torch.cat(
                [batch.targets[batch.targets != IGNORED] for batch in task.eval_batches(split, 7)]
            )
            assert targets.tolist() == codes[asked].tolist()
        batch = next(task.eval_batches("test", 100))
        answers = batch.allowed(torch.zeros(*batch.targets.shape, 20))
        for row, column in (batch.targets != IGNORED).nonzero().tolist():
            place = task._samples["test"].begin[row] + int(batch.at[row, column]) + 1
            had = set(codes[log.starts[log.users[place]] : place].tolist())
            gone = answers[row, column] == -torch.inf
            assert set(gone.nonzero()[:, 0].tolist()) == had and not gone[batch.targets[row, column]]

    def test_the_share_that_repeats_is_said(self, tmp_path: Path) -> None:
        frame = chains(users=40)
        notes = " ".join(opened(tmp_path, frame).notes())
        assert (
            "% of the events in test repeat an item that their user had before" in notes
            and "only_new=True" in notes
        )
        assert "only_new" not in " ".join(opened(tmp_path, frame, only_new=True).notes())

    def test_references_and_models_are_measured_alike(self, tmp_path: Path) -> None:
        task = opened(tmp_path, chains(users=60, items=30), only_new=True, metric="mrr")
        last = next(one for one in task.references() if one.name == "last item").fit(task)
        popular = next(one for one in task.references() if one.name == "popularity").fit(task)
        assert score_reference(last, task) == pytest.approx(
            score_reference(popular, task)
        )  # the last one is excluded
        trainer = Trainer(model_for(task, "hgrn2 dim=16"), task, TrainConfig(steps=2), device="cpu")
        trainer.run()
        assert np.isfinite(trainer.evaluate("test", with_loss=True).value)


@pytest.mark.parametrize("mixer", MIXERS)
def test_mixers_of_all_kinds_run(tmp_path: Path, mixer: str) -> None:
    task = opened(tmp_path, chains(users=30))
    trainer = Trainer(model_for(task, f"[{mixer}] dim=16"), task, TrainConfig(steps=2), device="cpu")
    trainer.run()
    assert 0 <= trainer.evaluate("valid").value <= 1


def test_few_items_are_ranked_by_accuracy(tmp_path: Path) -> None:
    assert opened(tmp_path, chains(items=5)).metric.id == "accuracy"
    assert opened(tmp_path, chains(items=12)).metric.id == "ndcg_at_10"


def test_too_few_events_and_items_that_do_not_repeat(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="the valid split asks for 6 events, each with an event of the same user before"
    ):
        opened(tmp_path, chains(users=6), holdout="last")
    frame = chains(users=40)
    frame["item"] = np.arange(len(frame))
    with pytest.raises(
        DataError, match="0 values of 'item' occur twice in the .* training events; at least two"
    ):
        opened(tmp_path, frame)


def test_of_many_events_and_items_some_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = opened(tmp_path, chains(users=60))
    assert whole.describe()["events asked"]["test"] == 96
    monkeypatch.setattr("anyformer.tasks.next_item.MOST_SCORES", 20 * 50)
    task = opened(tmp_path, chains(users=60))
    asked = task.describe()["events asked"]
    assert asked["train"] == whole.describe()["events asked"]["train"] and 40 < asked["test"] <= 50
    assert f"the test split asks for {asked['test']} of its 96 events, drawn at random" in " ".join(
        task.notes()
    )
    assert {*task._samples["test"].begin.tolist()} < {*whole._samples["test"].begin.tolist()}


def test_the_length_fits_most_users(tmp_path: Path) -> None:
    frame = pd.concat([chains(users=60, length=8), chains(users=1, length=50).assign(user="long")])
    task = opened(tmp_path, frame, holdout="last")
    assert task.train_length == 5
    assert "1 of 61 users have more than 5 events in training, and are cut into samples" in " ".join(
        task.notes()
    )
    assert opened(tmp_path, frame, holdout="last", length=20).train_length == 20
