"""The head that knows what goes together: streamed, padded and saved it tells the same, and it learns what repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.contract import Call
from anyformer.heads import create_head
from anyformer.heads.neighbours import NeighboursHead
from anyformer.models import SequenceModel, create_model
from anyformer.tasks import create_task, score_reference
from anyformer.tasks.next_item import NextItemTask
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.models import outputs_of
from anyformer.train.parts import loss_by_parts

LINE = "[qrnn]*1 dim=16 head=neighbours causal=true"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who take the items of one of eight kinds, each once."""
    rng, rows = np.random.default_rng(0), []
    for user in range(150):
        kind = rng.integers(8)
        for item in rng.permutation(12)[:8]:
            rows.append((f"u{user}", f"i{kind * 12 + item if rng.random() < 0.9 else rng.integers(96)}"))
    found = tmp_path_factory.mktemp("items") / "taken.csv"
    pd.DataFrame(rows, columns=["user", "item"]).drop_duplicates().to_csv(found, index=False)
    return found


@pytest.fixture(scope="module")
def task(path: Path) -> NextItemTask:
    found = create_task(str(path), target="item", kind="next", group="user")
    assert isinstance(found, NextItemTask)
    return found


@pytest.fixture
def model(task: NextItemTask) -> SequenceModel:
    """A fitted model whose hidden states have a say."""
    found = model_for(task, LINE)
    torch.nn.init.normal_(found.head.trust.weight, std=0.1), torch.nn.init.normal_(found.head.weight, std=0.1)
    return found.eval()


def test_it_starts_with_what_goes_together_and_does_not_come_again(task: NextItemTask) -> None:
    fresh = model_for(task, LINE)
    assert fresh.head.first[0] > 0.5 and fresh.head.first[1] < -2
    found = Trainer(fresh, task, TrainConfig(steps=1)).evaluate("test").value
    scores = {one.name: score_reference(one.fit(task), task) for one in task.references()}
    assert found > 0.9 * scores["item neighbours"] > 2 * scores["popularity"]


def test_outputs_are_a_linear_layer_plus_trusted_counts(model: SequenceModel, task: NextItemTask) -> None:
    batch = task.sample("test", 3)
    assert batch.at is not None
    h = model.hidden(batch.inputs, batch.mask).gather(1, batch.at[..., None].expand(-1, -1, 16))
    score, there = model.head.counts(model.beside(batch.inputs, batch.mask, at=batch.at)["tokens"])
    trusted = 2 * torch.sigmoid(h @ model.head.trust.weight.T + model.head.trust.bias) * model.head.first
    counted = trusted[..., :1] * (score + 0.1).log() + trusted[..., 1:] * there
    expected = h @ model.head.weight.T + counted + (0 if model.head.bias is None else model.head.bias)
    torch.testing.assert_close(outputs_of(model, batch), expected)


def test_pieces_are_as_the_whole_and_parts_too(model: SequenceModel, task: NextItemTask) -> None:
    batch = task.train_batch(0, 4)
    y, state, parts, start = model(batch.inputs), model.init_state(4), [], 0
    for size in (1, 3, y.shape[1] - 4):
        piece = {name: value[:, start : start + size] for name, value in batch.inputs.items()}
        outputs, state = model.stream(piece, state)
        parts.append(outputs)
        start += size
    torch.testing.assert_close(torch.cat(parts, 1), y, atol=1e-4, rtol=1e-4)
    model.train()
    asked = batch.targets != -100
    whole = model.head.loss(outputs_of(model, batch), batch.targets, task.objective)
    loss = loss_by_parts(model, batch, task.objective, Call(), most=task.objective.num_outputs * 5)
    torch.testing.assert_close(loss, whole)
    assert bool(asked.any())


def test_training_samples_are_told_what_was_counted_in_others(
    model: SequenceModel, task: NextItemTask
) -> None:
    """A model fitted without a sample tells of it in evaluation what the other tells in training."""
    batch = task.train_sample(10**6)
    model.head.trust.weight.data.zero_()
    row = slice(5, 6)
    told = outputs_of(model.train(), batch[row])
    without = model_for(task, LINE).eval()
    without.load_state_dict(model.state_dict())
    first, numbers = model.head.first, model.beside(batch.inputs, batch.mask)["tokens"][..., -1]
    following = batch.targets.clamp_min(-1) + 1
    keep = torch.arange(len(batch)) != 5
    without.head.fit(numbers[keep], following[keep])
    without.head.first.copy_(first)
    real = batch[row].targets >= 0
    torch.testing.assert_close(told[real], outputs_of(without, batch[row])[real], atol=1e-4, rtol=1e-4)


def test_a_folder_keeps_the_counts(model: SequenceModel, task: NextItemTask, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again, batch = SequenceModel.from_pretrained(tmp_path, strict=True).eval(), task.sample("test", 2)
    assert torch.equal(outputs_of(again, batch), outputs_of(model, batch))


def test_wrong_heads() -> None:
    for options, words in (
        ({"longest": 0}, "longest must be at least 1, got 0"),
        ({"fading": 1.5}, "fading must be above 0 and at most 1, got 1.5"),
    ):
        with pytest.raises(ValueError, match=words):
            create_head("neighbours", 4, 5, options=options)
    with pytest.raises(ValueError, match="pairs of at most 4,000 items, and there are 5,000"):
        create_head("neighbours", 4, 5000)
    with pytest.raises(ValueError, match="head: neighbours reads tokens"):
        create_model(LINE, num_features=2, num_outputs=3)
    head = create_head("neighbours", 4, 5)
    assert isinstance(head, NeighboursHead) and not head.weight.any()
    for name, words in (
        ("lookup", "tells which item"),
        ("bytes", "item is next in a log of events, and this data is none"),
    ):
        with pytest.raises(ValueError, match=f"head 'neighbours' cannot do task '{name}'.*{words}"):
            model_for(create_task(name), LINE)


def test_without_answers_nothing_is_learnt_of_them() -> None:
    head = create_head("neighbours", 4, 5)
    head.fit(torch.ones(3, 4, dtype=torch.int64), torch.zeros(3, 4, dtype=torch.int64))
    assert not head.first.any()
