"""The conditional random field against enumeration of all paths, and where transitions decide."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from anyformer.heads import create_head
from anyformer.heads.crf import CRF
from anyformer.metrics import create_metric
from anyformer.models import EncoderDecoder, SequenceModel, create_model, load_spec
from anyformer.objectives import IGNORED, NextToken
from anyformer.questions import UNKNOWN
from anyformer.tasks import Batch, Reference, Split, Task, create_task
from anyformer.train import TrainConfig, Trainer, model_for

C, T = 3, 5
ASKED = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
OBJECTIVE = NextToken(C)


def random_crf(seed: int = 0) -> tuple[CRF, Tensor, Tensor]:
    """A head with weights drawn at random, outputs ``(4, T, C)`` and targets for ``ASKED``."""
    torch.manual_seed(seed)
    head = create_head("crf", 4, C).double()
    assert isinstance(head, CRF)
    for weight in (head.transitions, head.start, head.end):
        torch.nn.init.normal_(weight, std=1.5)
    outputs = torch.randn(len(ASKED), T, C, dtype=torch.float64, requires_grad=True)
    return head, outputs, torch.where(ASKED, torch.randint(C, ASKED.shape), IGNORED)


def score(head: CRF, emissions: Tensor, path: tuple[int, ...]) -> Tensor:
    """The score of a path, term by term."""
    total = head.start[path[0]] + head.end[path[-1]]
    for place, tag in enumerate(path):
        total = total + emissions[place, tag]
        if place:
            total = total + head.transitions[path[place - 1], tag]
    return total


def enumerated(head: CRF, outputs: Tensor, asked: Tensor) -> dict[tuple[int, ...], Tensor]:
    """The log probability of every path of one sample."""
    emissions = outputs[asked]
    paths = list(itertools.product(range(C), repeat=len(emissions)))
    scores = torch.stack([score(head, emissions, path) for path in paths])
    return dict(zip(paths, scores.log_softmax(0)))


def definition(head: CRF, outputs: Tensor, targets: Tensor) -> Tensor:
    """-log p of the right paths, from the probabilities of all paths."""
    losses = [
        -enumerated(head, sample, target != IGNORED)[tuple(target[target != IGNORED].tolist())]
        for sample, target in zip(outputs, targets)
        if (target != IGNORED).any()
    ]
    return torch.stack(losses)


class TestDefinition:
    def test_loss_and_every_gradient(self) -> None:
        head, outputs, targets = random_crf()
        weights = [outputs, head.transitions, head.start, head.end]
        own = head.loss(outputs, targets, OBJECTIVE)
        expected = definition(head, outputs, targets).sum() / (targets != IGNORED).sum()
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=0)
        for one, other in zip(
            torch.autograd.grad(own, weights), torch.autograd.grad(expected, weights), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)

    def test_each_sample_adds_its_own(self) -> None:
        head, outputs, targets = random_crf(1)
        sums, counts = head.loss_items(outputs, targets, OBJECTIVE)
        assert counts.tolist() == [5, 3, 1, 0] and sums.dtype == counts.dtype == torch.float64
        torch.testing.assert_close(sums[:3], definition(head, outputs, targets).detach())
        assert float(sums[3]) == 0
        torch.testing.assert_close(sums.sum() / counts.sum(), head.loss(outputs, targets, OBJECTIVE).detach())

    @pytest.mark.parametrize("seed", range(4))
    def test_marginals_and_best_path(self, seed: int) -> None:
        head, outputs, _ = random_crf(seed)
        marginals, decoded = head.marginals(outputs, ASKED), head.decode(outputs, ASKED)
        assert (decoded[~ASKED] == IGNORED).all()
        assert torch.equal(marginals[~ASKED], outputs[~ASKED])
        for sample in range(3):
            paths = enumerated(head, outputs[sample], ASKED[sample])
            assert tuple(decoded[sample][ASKED[sample]].tolist()) == max(paths, key=lambda p: paths[p].item())
            for place, told in enumerate(marginals[sample][ASKED[sample]]):
                for tag in range(C):
                    held = torch.stack([p for path, p in paths.items() if path[place] == tag])
                    torch.testing.assert_close(told[tag], held.logsumexp(0))

    def test_unknown_classes_are_no_part_of_the_path(self) -> None:
        head, outputs, targets = random_crf()
        unknown = targets.clone()
        unknown[0, 2] = UNKNOWN
        ignored = torch.where(unknown == UNKNOWN, IGNORED, unknown)
        for one, other in zip(
            head.loss_items(outputs, unknown, OBJECTIVE), head.loss_items(outputs, ignored, OBJECTIVE)
        ):
            assert torch.equal(one, other)

    def test_log_partition_of_nothing_is_zero(self) -> None:
        head, outputs, _ = random_crf()
        assert head.log_partition(outputs, ASKED)[3].item() == 0
        assert head.decode(outputs, None).shape == (4, T)


class TestAnswer:
    def test_argmax_is_the_best_path_and_the_rest_are_marginals(self) -> None:
        differ = 0
        for seed in range(30):
            head, outputs, _ = random_crf(seed)
            answer, marginals = head.answer(outputs, ASKED), head.marginals(outputs, ASKED)
            path = head.decode(outputs, ASKED)
            assert torch.equal(answer.argmax(-1)[ASKED], path[ASKED])
            torch.testing.assert_close(answer.sort(-1).values, marginals.sort(-1).values)
            same = ASKED & (marginals.argmax(-1) == path)
            torch.testing.assert_close(answer[same], marginals[same])
            differ += int((ASKED & (marginals.argmax(-1) != path)).sum())
        assert differ > 0, "somewhere the best path must not be the likeliest class"

    def test_ties_do_not_hide_the_path(self) -> None:
        head = create_head("crf", 4, C)
        assert isinstance(head, CRF)
        outputs = torch.zeros(2, 4, C)
        assert torch.equal(head.answer(outputs).argmax(-1), head.decode(outputs))

    def test_padding_and_places_do_not_matter(self) -> None:
        head, outputs, targets = random_crf()
        dense = outputs[1][ASKED[1]][None]
        torch.testing.assert_close(head.answer(outputs, ASKED)[1][ASKED[1]], head.answer(dense)[0])
        alone = head.loss_items(dense, targets[1][ASKED[1]][None], OBJECTIVE)[0]
        torch.testing.assert_close(alone[0], head.loss_items(outputs, targets, OBJECTIVE)[0][1])


def test_begins_as_the_linear_head() -> None:
    models = [
        create_model("mamba", head=name, dim=16, vocab_size=9, num_outputs=C) for name in ("linear", "crf")
    ]
    models[1].load_state_dict(models[0].state_dict(), strict=False)
    x, targets = torch.randint(9, (4, T)), random_crf()[2]
    losses = [model.loss(x, targets, OBJECTIVE) for model in models]
    torch.testing.assert_close(losses[0], losses[1])
    expected = functional.cross_entropy(models[0](x).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(losses[0], expected)
    own = set(models[1].state_dict()) - set(models[0].state_dict())
    assert own == {"head.transitions", "head.start", "head.end"}


def test_narrow_types_are_widened() -> None:
    head, outputs, targets = random_crf()
    wide = head.float().loss(outputs.float(), targets, OBJECTIVE)
    narrow = head.bfloat16().loss(outputs.bfloat16(), targets, OBJECTIVE).detach()
    assert narrow.dtype == torch.float32 and narrow.item() == pytest.approx(wide.item(), rel=0.02)


def test_save_and_load(tmp_path: Path) -> None:
    model = create_model("mamba head=crf", dim=8, vocab_size=9, num_outputs=C)
    torch.nn.init.normal_(model.head.transitions)
    model.save_pretrained(tmp_path)
    again, x = SequenceModel.from_pretrained(tmp_path), torch.randint(9, (2, T))
    assert torch.equal(model.answer(x), again.answer(x))


class Cycle(Task):
    """Labels that go round, 0 1 2 0 1 2, from a random start; of each token a model sees only a noisy hint."""

    name = title = "cycle"
    vocab_size, train_length, sees_whole = C, 16, True
    objective = NextToken(C)
    metric = create_metric("accuracy", NextToken(C).question)

    def size(self, split: Split, length: int | None = None) -> int:
        return 100

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        samples = [np.random.default_rng([len(split), number]) for number in index]
        labels = np.stack([(draw.integers(C) + np.arange(length)) % C for draw in samples])
        noise = np.stack([draw.integers(C, size=length) for draw in samples])
        hidden = np.stack([draw.random(length) < 0.6 for draw in samples])
        return Batch(torch.from_numpy(np.where(hidden, noise, labels)), torch.from_numpy(labels))

    def references(self) -> list[Reference]:
        return []


def test_beats_the_linear_head_where_transitions_decide() -> None:
    """A model without reach sees one hint alone: right in 0.4 + 0.6 / 3 of the cases."""
    scores = {}
    for name in ("linear", "crf"):
        model = model_for(Cycle(), f"[swiglu] channel=none positions=none dim=8 head={name}")
        trainer = Trainer(
            model, Cycle(), TrainConfig(steps=60, batch_size=16, learning_rate=0.1), device="cpu"
        )
        trainer.run()
        found = trainer.evaluate("test", with_loss=True)
        assert found.loss is not None and found.loss < trainer.losses[0]
        scores[name] = found.value
    assert scores["linear"] < 0.68 and scores["crf"] > 0.9


class TestRefusals:
    def test_of_questions_by_name(self) -> None:
        with pytest.raises(ValueError, match="head 'crf' .* not with one class of the whole sequence"):
            model_for(create_task("listops"), "mamba head=crf")
        with pytest.raises(ValueError, match="head 'crf' .* must not depend on later tokens"):
            model_for(create_task("recall"), "mamba head=crf")
        assert "not with numbers" in str(CRF.refuses(create_task("fading").question))

    def test_of_models(self) -> None:
        with pytest.raises(
            ValueError, match=r"head 'crf' answers for each element .* to the whole \(pool='mean'\)"
        ):
            create_model("mamba head=crf", vocab_size=9, pool="mean")
        with pytest.raises(ValueError, match="head 'crf' answers after the last element"):
            EncoderDecoder(load_spec("encoder_decoder head=crf dim=16").model_dump(), vocab_size=9)
        with pytest.raises(ValueError, match="outputs must have shape"):
            create_head("crf", 4, C).loss(torch.zeros(2, 4, C), torch.zeros(2, 5).long(), OBJECTIVE)
