from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
import torch

from anyformer.objectives import IGNORED
from anyformer.tasks import Task, create_task, list_tasks, score_reference
from anyformer.tasks.listops import TOKENS, evaluate
from anyformer.tasks.recall import Recall
from anyformer.tasks.translation import Translation

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


class TestRecall:
    def test_the_docstring_shows_a_sample(self) -> None:
        """The pairs of the docstring, asked in its order, are answered as it says."""
        assert Recall.__doc__ is not None
        lines = [line.split() for line in Recall.__doc__.splitlines()]
        x, target = (next(line[1:] for line in lines if line[:1] == [name]) for name in ("x", "target"))
        x, target = [t for t in x if t != "|"], [t for t in target if t != "|"]
        binding = dict(zip(x[0:6:2], x[1:6:2]))
        assert target == ["."] * 6 + [binding[key] for key in x[6:]]

    def test_every_question_has_the_value_that_came_with_its_key(self) -> None:
        task = create_task("recall", vocab_size=20, num_pairs=4, length=14)
        for length in (14, *task.lengths):
            x, targets = all_of(task, "test", length)
            pairs = Recall.pairs_at(task, length)  # type: ignore[arg-type]
            for row, answer in zip(x[:50].tolist(), targets[:50].tolist()):
                binding = dict(zip(row[0 : 2 * pairs : 2], row[1 : 2 * pairs : 2]))
                assert len(binding) == pairs and max(binding) < 10 <= min(binding.values())
                assert answer == [IGNORED] * 2 * pairs + [binding[key] for key in row[2 * pairs :]]

    def test_pairs_grow_with_the_length_up_to_the_keys(self) -> None:
        task = create_task("recall", vocab_size=16, num_pairs=6, length=30)
        assert task.describe()["pairs_at_length"] == {30: 6, 60: 8, 120: 8}

    def test_any_key_can_stand_anywhere(self) -> None:
        x, _ = all_of(create_task("recall"), "train")
        counts = torch.stack([torch.bincount(x[:, place], minlength=16)[:16] for place in range(0, 12, 2)])
        assert counts.min() > 0.7 * counts.float().mean()

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"vocab_size": 7}, "vocab_size must be even"),
            ({"num_pairs": 17}, r"num_pairs must be an integer in 1\.\.16, got 17"),
            ({"length": 10}, "length must be an integer at least 18, got 10"),
            (
                {"pairs": 3},
                "task 'recall' has no option 'pairs'; did you mean num_pairs",
            ),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            create_task("recall", **options)


class TestCopy:
    def test_the_string_is_written_again(self) -> None:
        task = create_task("copy", alphabet=5, length=12)
        for length in (12, 24):
            for batch in task.eval_batches("test", 200, length=length):
                mask = batch.mask if batch.mask is not None else torch.ones_like(batch.x, dtype=torch.bool)
                for x, target, real in zip(batch.x.tolist(), batch.targets.tolist(), mask.sum(1).tolist()):
                    size = x.index(5)
                    text = x[:size]
                    assert real == 2 * size and 3 <= size <= length // 2
                    assert x[size + 1 : 2 * size] == text[:-1]
                    assert target[size : 2 * size] == text
                    assert {*target[:size], *target[2 * size :]} <= {IGNORED}
                    assert length == 12 or size == 12


class TestTranslation:
    def test_a_sentence_of_the_docstring(self) -> None:
        task = Translation(words=4, names=2)  # adjectives 0 and 1, nouns 2 and 3, names 8 and 9
        a, b, n, m = task.dictionary.tolist()
        assert sorted(task.dictionary.tolist()) == [4, 5, 6, 7]
        assert task.translate(np.array([[0, 2, 8, 3, 1]]))[0].tolist() == [n, a, 8, m, b]
        assert task.translate(np.array([[0, 1, 2, 3, -1]]))[0].tolist() == [a, n, b, m, -1]

    def test_the_dictionary_is_the_seeds(self) -> None:
        one, again, other = (create_task("translation", seed=s) for s in (1, 1, 2))
        assert one.dictionary.tolist() == again.dictionary.tolist() != other.dictionary.tolist()  # type: ignore[attr-defined]

    def test_refused(self) -> None:
        with pytest.raises(ValueError, match="words must be even"):
            create_task("translation", words=5)


class TestSelectiveCopy:
    def test_the_symbols_are_written_in_order(self) -> None:
        task = create_task("selective_copy", alphabet=5, num_symbols=3, length=10)
        for length in (10, 20):
            x, targets = all_of(task, "test", length)
            for row, answer in zip(x[:50].tolist(), targets[:50].tolist()):
                assert row[-3:] == [6] * 3 and row.count(5) == length - 6
                assert answer == [IGNORED] * (length - 3) + [t for t in row if t < 5]

    def test_refused(self) -> None:
        with pytest.raises(ValueError, match="length must be an integer at least 12, got 11"):
            create_task("selective_copy", length=11)


def value(tokens: list[str]) -> int:
    """The value of an expression, by a stack."""
    stack: list[list[Any]] = [[]]
    for token in tokens:
        if token.startswith("["):
            stack.append([token])
        elif token == "]":
            op, *items = stack.pop()
            result = {
                "[MAX": max,
                "[MIN": min,
                "[MED": lambda n: int(statistics.median(n)),
                "[SM": lambda n: sum(n) % 10,
            }[op](items)
            assert len(items) >= 2
            stack[-1].append(result)
        else:
            stack[-1].append(int(token))
    [[result]] = stack
    assert isinstance(result, int)
    return result


class TestListOps:
    def test_the_worked_example(self) -> None:
        x = np.array([[10, 2, 13, 8, 7, 14, 12, 1, 4, 9, 14, 0, 14]])
        text = ["[MAX", "2", "[SM", "8", "7", "]", "[MED", "1", "4", "9", "]", "0", "]"]
        assert [TOKENS[token] for token in x[0]] == text
        assert evaluate(x, np.array([13])).tolist() == [5] == [value(text)]

    def test_values_agree_with_a_stack(self) -> None:
        task = create_task("listops", length=40)
        depths = set()
        for length in (40, 160):
            for batch in task.eval_batches("valid", 64, length=length):
                sizes = [length] * 64 if batch.mask is None else batch.mask.sum(1).tolist()
                for row, size, target in zip(batch.x.tolist(), sizes, batch.targets.tolist()):
                    text = [TOKENS[token] for token in row[:size]]
                    assert value(text) == target
                    depths.add(max(np.cumsum([t.startswith("[") - int(t == "]") for t in text])))
        assert max(depths) >= 5

    def test_no_answer_rules(self) -> None:
        _, targets = all_of(create_task("listops"), "train")
        shares = torch.bincount(targets, minlength=10) / len(targets)
        assert shares.min() > 0.04 and shares.max() < 0.25


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
