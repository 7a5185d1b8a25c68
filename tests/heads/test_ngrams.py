"""The head that counts: streamed, padded, saved and in parts it tells the same, and it never sees the next token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyformer.contract import Call
from anyformer.generate import generate
from anyformer.heads import create_head
from anyformer.heads.ngrams import NGramHead
from anyformer.models import SequenceModel, create_model
from anyformer.questions import IGNORED
from anyformer.state import select_rows
from anyformer.tasks import create_task
from anyformer.tasks.pair_encoding import STOP
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.models import outputs_of
from anyformer.train.parts import loss_by_parts

LINE = "[qrnn, attention]*1 dim=16 head=ngrams(longest=3) causal=true"


@pytest.fixture(scope="module")
def task():
    return create_task("bytes", length=32)


@pytest.fixture
def model(task) -> SequenceModel:
    """A fitted model that trusts counts by what it sees and reads."""
    found = model_for(task, LINE)
    torch.nn.init.normal_(found.head.trust.weight)
    return found.eval()


def test_outputs_are_a_linear_layer_plus_trusted_counts(model, task) -> None:
    x, head = task.sample("test", 3).x, model.head
    h = model.hidden(x)
    told, seen = head.counts(model.beside(x)["tokens"])
    trusted = 2 * torch.sigmoid(torch.cat([seen, h], -1) @ head.trust.weight.T + head.trust.bias)
    torch.testing.assert_close(model(x), h @ head.weight.T + trusted * told)
    assert seen[:, 5:].mean() > 0.5 and told.std() > 0.5
    asked = torch.tensor([[3, 0], [9, 9], [31, 4]])
    torch.testing.assert_close(model(x, at=asked), model(x).gather(1, asked[..., None].expand(-1, -1, 256)))


def test_pieces_and_what_lies_around_change_nothing(model, task) -> None:
    x = task.sample("test", 3).x
    y, state, parts = model(x), model.init_state(3), []
    for piece in x.split([1, 2, 9, 20], 1):
        outputs, state = model.stream(piece, state)
        parts.append(outputs)
    torch.testing.assert_close(torch.cat(parts, 1), y, atol=1e-4, rtol=1e-4)
    outputs, state = model.start(x[:, :20])
    torch.testing.assert_close(outputs, y[:, :20], atol=1e-4, rtol=1e-4)
    mask = torch.arange(24) < torch.tensor([[24], [7], [1]])
    padded, behind = model.stream(torch.where(mask, x[:, :24], 9), model.init_state(3), mask)
    for row, length in enumerate((24, 7, 1)):
        torch.testing.assert_close(padded[row, :length], y[row, :length], atol=1e-4, rtol=1e-4)
        after, _ = model.stream(
            x[row : row + 1, length : length + 3], select_rows(behind, torch.tensor([row]))
        )
        torch.testing.assert_close(after[0], y[row, length : length + 3], atol=1e-4, rtol=1e-4)
    front = torch.cat([torch.full((3, 4), 7), x], 1)
    known = torch.arange(36).expand(3, -1) >= 4
    torch.testing.assert_close(model(front, known)[:, 4:], y, atol=1e-4, rtol=1e-4)


def test_no_output_depends_on_later_tokens(model, task) -> None:
    x = task.sample("test", 2).x
    later = x.clone()
    later[:, 20:] = (later[:, 20:] + 1) % 256
    assert torch.equal(model(later)[:, :20], model(x)[:, :20])


def test_training_text_is_told_what_was_counted_elsewhere(model, task) -> None:
    """In training the count of the very place is missing; in evaluation it would be trusted, and wrongly."""
    text = task.long_samples(["train"], 10**7)
    here = torch.arange(64)[:, None] * 1000 + torch.arange(8)
    x, targets = text.x[0, here], text.targets[0, here]
    model.head.weight.data.zero_(), model.head.trust.weight.data.zero_()

    def bits(training: bool) -> float:
        with torch.no_grad():
            return float(model.train(training).loss(x, targets, task.objective)) / 0.6931

    found, known = bits(True), bits(False)
    following = text.targets.clone()
    following[0, here] = -1
    model.head.fit(torch.where(text.mask, text.x + 1, 0), following.clamp_min(-1) + 1)
    unseen = bits(False)
    assert abs(found - unseen) < 0.1 and known < unseen - 0.2


def test_losses_by_parts_are_the_same(model, task) -> None:
    batch = task.train_batch(0, 4)
    for training in (False, True):
        model.train(training)
        whole = model.loss(batch.x, batch.targets, task.objective)
        parts = loss_by_parts(model, batch, task.objective, Call(), most=256 * 50)
        torch.testing.assert_close(parts, whole)


def test_a_folder_keeps_the_counts(model, task, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path, strict=True).eval()
    x = task.sample("test", 2).x
    assert torch.equal(again(x), model(x))
    bare = model_for(task, LINE, fitted=False)
    assert not len(bare.head.counts.counts)
    bare.load_state_dict(model.state_dict())
    assert torch.equal(bare.eval()(x), model(x))


def test_it_generates_from_any_prompt(model) -> None:
    for prompt in (torch.zeros(2, 1, dtype=torch.int64), torch.randint(256, (2, 9))):
        found = generate(model, prompt, 6, temperature=0)
        again = model(torch.cat([prompt, found], 1))[:, prompt.shape[1] - 1 : -1].argmax(-1)
        assert found.shape == (2, 6) and torch.equal(again, found)


def test_it_adds_to_its_counts_within_a_few_steps(task) -> None:
    model, alone = model_for(task, LINE), model_for(task, LINE)
    alone.head.weight.data.zero_()
    counts = Trainer(alone, task, TrainConfig(steps=1)).evaluate("test").value
    trainer = Trainer(model, task, TrainConfig(steps=60, batch_size=16, learning_rate=1e-2))
    trainer.run(60)
    assert trainer.evaluate("test").value < counts


def test_wrong_heads() -> None:
    with pytest.raises(ValueError, match="longest must be at least 1, got 0"):
        create_head("ngrams", 4, 5, options={"longest": 0})
    with pytest.raises(ValueError, match="head: ngrams reads tokens, and the inputs of this model are none"):
        create_model(LINE, num_features=2, num_outputs=3)
    with pytest.raises(ValueError, match="answers for each element of a sequence"):
        create_model(LINE, vocab_size=7, num_outputs=7, pool="mean")
    head = create_head("ngrams", 4, 5)
    assert isinstance(head, NGramHead)
    torch.testing.assert_close(head(torch.ones(2, 3, 4)), torch.ones(2, 3, 4) @ head.weight.T + head.bias)


def test_labelled_sequences_are_refused(task) -> None:
    labelled = create_task("lookup")
    with pytest.raises(ValueError, match="head 'ngrams' cannot do task 'lookup'"):
        model_for(labelled, LINE)
    assert outputs_of(model_for(task, LINE), task.train_batch(0, 2)).shape == (2, 32, 256)


def test_the_answers_that_are_asked_are_counted() -> None:
    """They are not the next token here; the end of a text is among the answers alone."""
    task = create_task("state_tracking")
    model = model_for(task, "[qrnn]*1 dim=16 head=ngrams(longest=2)")
    model.head.weight.data.zero_()
    batch = task.sample("test", 64)
    with torch.no_grad():
        found = model.eval()(batch.x)[..., :].log_softmax(-1)
    counts = torch.zeros(task.vocab_size, task.vocab_size)
    known = task.long_samples(["train"], model.head.fit_elements)
    asked = known.targets[:, 0] >= 0
    counts.index_put_(
        (known.x[asked, 0], known.targets[asked, 0]), torch.ones(int(asked.sum())), accumulate=True
    )
    likely = counts[batch.x[:, 0]].argmax(-1)
    assert torch.equal(found[:, 0].argmax(-1), likely)


def test_packed_sequences_and_streams_in_training_are_told_their_own(model, task) -> None:
    x = task.sample("test", 2).x[:, :12]
    packed = model(x, torch.tensor([[1] * 5 + [2] * 7] * 2))
    torch.testing.assert_close(packed, torch.cat([model(x[:, :5]), model(x[:, 5:])], 1), atol=1e-4, rtol=1e-4)
    y, training = model(x), model.train()
    torch.testing.assert_close(training.stream(x, training.init_state(2))[0], y, atol=1e-4, rtol=1e-4)


def test_texts_that_models_write_end(tmp_path: Path) -> None:
    """The end is an answer that is never among the tokens before."""
    words = [a + b + c for a in "abcd" for b in "abcd" for c in ("", "c", "ca", "dab")]
    path = tmp_path / "pairs.csv"
    path.write_text("source,target\n" + "".join(f"{word},{word.upper()}!\n" for word in words))
    task = create_task(str(path), text="source", target="target", kind="translate")
    model = model_for(task, "[qrnn, attention]*1 dim=16 head=ngrams")
    Trainer(model, task, TrainConfig(steps=100, batch_size=16, learning_rate=1e-2)).run(100)
    batch = task.sample("test", 8)
    found = task.decode(model.eval(), batch)
    last = found.gather(1, (found != IGNORED).sum(1, keepdim=True) - 1)
    assert bool((last == STOP).all())
