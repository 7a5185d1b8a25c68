from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from logs import chains, saved

from anyformer.tasks import open_data, score_reference
from anyformer.tasks.base import Reference
from anyformer.tasks.item_references import Ease, Neighbours
from anyformer.tasks.next_item import NextItemTask


def opened(folder: Path, frame: pd.DataFrame, **options: object) -> NextItemTask:
    task = open_data(saved(folder, frame), "item", kind="next", group="user", **options)
    assert isinstance(task, NextItemTask)
    return task


def fitted(task: NextItemTask) -> dict[str, Reference]:
    return {one.name: one.fit(task) for one in task.references()}


def test_a_rule_of_one_event_is_what_markov_knows(tmp_path: Path) -> None:
    task = opened(tmp_path, chains(), holdout="last", metric="accuracy")
    found = {name: score_reference(one, task) for name, one in fitted(task).items()}
    assert list(found) == ["popularity", "last item", "first-order Markov", "item neighbours", "EASE"]
    assert found["first-order Markov"] > 0.95 > 0.5 > max(found["popularity"], found["last item"])


def test_items_that_repeat_are_what_the_last_item_knows(tmp_path: Path) -> None:
    frame = chains()
    frame["item"] = frame.groupby("user")["item"].transform("first")
    task = opened(tmp_path, frame, holdout="last", metric="accuracy")
    found = {name: score_reference(one, task) for name, one in fitted(task).items()}
    assert found["last item"] == 1 > found["popularity"]


@pytest.mark.parametrize("split", ["valid", "train"])
def test_they_give_probabilities_at_the_places_that_are_asked(tmp_path: Path, split: str) -> None:
    task = opened(tmp_path, chains(users=30))
    batch = next(task.eval_batches(split, 9))  # type: ignore[arg-type]
    for one in fitted(task).values():
        found = one.predict(batch)
        assert found.shape == (*batch.targets.shape, 20) and found.dtype == torch.float32
        assert found.exp().sum(-1) == pytest.approx(1, abs=1e-4)


def test_counts_by_hand(tmp_path: Path) -> None:
    """Each pair of events in training counts once, the frequencies as many times as different items follow."""
    task = opened(tmp_path, chains(users=30))
    found, log = fitted(task), task.log
    codes = task._fields["item"]
    batch = next(task.eval_batches("test", 5))
    told = found["first-order Markov"].predict(batch).exp()
    at = task._samples["test"].first[:5]
    for sample, place in enumerate(at):
        before = codes[place]
        after = [codes[i + 1] - 2 for i in range(len(codes) - 1)
                 if codes[i] == before and log.users[i] == log.users[i + 1] and log.parts[i + 1] == 0]  # fmt: skip
        counts, shares = (
            np.bincount(after, minlength=20),
            found["popularity"].predict(batch)[0, 0].exp().numpy(),
        )
        different = len(set(after))
        expected = (counts + different * shares) / (counts.sum() + different)
        came = set(codes[task._samples["test"].begin[sample] : place + 1] - 2)
        expected[sorted(came)] *= np.exp(found["first-order Markov"].again)
        expected /= expected.sum()
        assert told[sample, 0].numpy() == pytest.approx(expected, rel=1e-4)


def test_neighbours_are_cosines_of_samples(tmp_path: Path) -> None:
    frame = chains(users=30, items=12)
    task = opened(tmp_path, frame, holdout="last")
    one = fitted(task)["item neighbours"]
    assert isinstance(one, Neighbours)
    begin, _, end, _ = task._samples["train"]
    held = np.zeros((len(begin), task.item.size))
    for sample, (low, high) in enumerate(zip(begin, end)):
        held[sample, task._fields["item"][low : high + 1]] = 1
    norms = np.maximum(np.linalg.norm(held, axis=0), 1e-9)
    cosine = (held / norms).T @ (held / norms)
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(one.likeness.toarray(), cosine[:, 2:], atol=1e-6)


def test_neighbours_are_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = opened(tmp_path, chains(users=40), holdout="last")
    every = fitted(task)["item neighbours"].likeness.toarray()  # type: ignore[attr-defined]
    monkeypatch.setattr("anyformer.tasks.item_references.NEIGHBOURS", 3)
    monkeypatch.setattr("anyformer.tasks.item_references.BLOCK", 7)
    few = fitted(task)["item neighbours"].likeness.toarray()  # type: ignore[attr-defined]
    for row, kept in zip(every, few):
        assert sorted(kept[kept > 0]) == sorted(np.sort(row)[-3:][np.sort(row)[-3:] > 0])


def baskets(users: int = 300, pairs: int = 20, seed: int = 0) -> pd.DataFrame:
    """Events of users who each buy both items of four pairs, in any order; the last item is the other of a pair."""
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        chosen = draw.permutation(pairs)[:4]
        bought = [int(2 * pair + side) for pair in chosen for side in (0, 1)]
        last = bought.pop(draw.integers(len(bought)))
        order = [*draw.permutation(bought).tolist(), last]
        rows += [(f"u{user}", f"i{item}", f"2024-01-{day + 1:02d}") for day, item in enumerate(order)]
    return pd.DataFrame(rows, columns=["user", "item", "time"])


def test_pairs_are_what_ease_knows(tmp_path: Path) -> None:
    task = opened(tmp_path, baskets(), holdout="last", metric="accuracy", only_new=True, length=8)
    found = fitted(task)
    scores = {name: score_reference(one, task) for name, one in found.items()}
    assert scores.pop("EASE") > 0.95 > 0.8 > max(scores.values())
    assert found["EASE"].parameters == 40**2


def test_ease_solves_its_least_squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each column is a ridge regression on all other items; items that are there twice count once."""
    monkeypatch.setattr("anyformer.tasks.item_references.PENALTIES", (7.0,))
    task = opened(tmp_path, chains(users=40), holdout="last")
    one = fitted(task)["EASE"]
    assert isinstance(one, Ease)
    held, codes = np.zeros((40, 20)), task._fields["item"].astype(int) - 2
    for event in task.log.trained:
        held[task.log.users[event], codes[event]] = 1
    for item in (0, 11):
        rest = np.delete(held, item, 1)
        solved = np.linalg.solve(rest.T @ rest + 7 * np.eye(19), rest.T @ held[:, item])
        np.testing.assert_allclose(np.delete(one.weights[:, item], item), solved, atol=1e-5)
        assert one.weights[item, item] == 0


def test_too_many_items_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyformer.tasks.item_references.MOST_ITEMS", 19)
    task = opened(tmp_path, chains(users=30))
    assert "EASE" not in [one.name for one in task.references()]
    assert "EASE is not among the references: too costly for 20 items, above 19" in task.notes()


@pytest.mark.parametrize("again", [True, False])
def test_whether_items_come_again_is_learnt(tmp_path: Path, again: bool) -> None:
    """Users go through items of their kind: in a circle, or once."""
    rng, rows = np.random.default_rng(0), []
    for user in range(80):
        items = rng.permutation(30)[: 3 if again else 12]
        rows += [(f"u{user}", f"i{items[place % len(items)]}", 60 * user + place) for place in range(12)]
    task = opened(tmp_path, pd.DataFrame(rows, columns=["user", "item", "time"]))
    found = fitted(task)
    factor = found["item neighbours"].again
    assert factor > 1 if again else factor < -3
    assert found["popularity"].again == found["last item"].again == 0
    batch = next(task.eval_batches("test", 5))
    for reference in found.values():
        np.testing.assert_allclose(reference.predict(batch).exp().sum(-1), 1, rtol=1e-4)
        sign, score = task.metric.info.sign, score_reference(reference, task, "valid")
        reference.again = 0.0
        assert sign * score >= sign * score_reference(reference, task, "valid")
