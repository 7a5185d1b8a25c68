"""N-grams: probabilities by hand and by the definition."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from anyformer.metrics import create_metric
from anyformer.objectives import NextToken
from anyformer.tasks import ngrams, score_reference
from anyformer.tasks.ngrams import KNESER_NEY, BestNGram, NGram
from anyformer.tasks.text import ByteTask, Document


def test_ngram_is_witten_bell_by_hand() -> None:
    """After "a" came b, b and c: P(b | a) = (2 + 2 P(b)) / (3 + 2), and so on down to uniform."""

    class Tiny:
        vocab_size, train_length = 4, 6

        def train_sample(self, limit: int) -> object:
            class Sample:
                x, targets = torch.tensor([[0, 1, 0, 1, 0, 2]]), torch.tensor([[1, 0, 1, 0, 2, -100]])

            return Sample

    model = NGram(2).fit(Tiny())  # type: ignore[arg-type]

    class Query:
        x = torch.tensor([[0, 3]])

    p = model.predict(Query).exp()[0]  # type: ignore[arg-type]
    unigram = [(count + 3 / 4) / (5 + 3) for count in (2, 2, 1, 0)]
    after_a = [(count + 2 * lower) / (3 + 2) for count, lower in zip((0, 2, 1, 0), unigram)]
    assert p[0].tolist() == pytest.approx(after_a, rel=1e-5)
    assert p[1].tolist() == pytest.approx(unigram, rel=1e-5)  # 3 was never seen


class Text:
    """A task with one training sample."""

    vocab_size = 5
    metric = create_metric("accuracy", NextToken(5).question)

    def __init__(self, tokens: list[int]) -> None:
        self.tokens, self.train_length = tokens, len(tokens) - 1

    def train_sample(self, limit: int) -> object:
        class Sample:
            x, targets = torch.tensor([self.tokens[:-1]]), torch.tensor([self.tokens[1:]])

        return Sample


def by_the_definition(tokens: list[int], order: int, history: list[int], size: int) -> list[float]:
    """Probabilities of the next token by modified Kneser-Ney, counted in dictionaries."""
    inputs, counts = tokens[:-1], list[Counter[tuple[int, ...]]]()
    for n in range(1, order + 1):
        ends = range(max(0, n - 2), len(inputs))
        counts.append(Counter((*inputs[t - n + 2 : t + 1], tokens[t + 1]) for t in ends))
    told = [1 / size] * size
    for n in range(1, order + 1):
        found = counts[n - 1]
        if n < order:
            before = defaultdict[tuple[int, ...], set[int]](set)
            for gram in counts[n]:
                before[gram[1:]].add(gram[0])
            found = Counter({gram: len(some) for gram, some in before.items()})
        of = Counter(found.values())
        discount = {1: 0.5, 2: 1.0, 3: 1.5}
        if all(of[k] for k in (1, 2, 3, 4)):
            y = of[1] / (of[1] + 2 * of[2])
            discount = {k: min(max(k - (k + 1) * y * of[k + 1] / of[k], 0.05), k) for k in (1, 2, 3)}
        context = tuple(history[len(history) - n + 1 :])
        here = {gram[-1]: count for gram, count in found.items() if gram[:-1] == context}
        if not here:
            break
        total, rest = sum(here.values()), sum(discount[min(count, 3)] for count in here.values())
        told = [
            (here.get(c, 0) - (discount[min(here[c], 3)] if c in here else 0) + rest * told[c]) / total
            for c in range(size)
        ]
    return told


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [6, 300])
def test_kneser_ney_is_the_definition(order: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(length)
    tokens = [0, 1]
    for _ in range(length):
        tokens.append(int((tokens[-2] * 2 + tokens[-1] + rng.choice(3, p=[0.7, 0.2, 0.1])) % 4))
    monkeypatch.setattr(ngrams, "score_reference", lambda *_, **__: 0.0)
    model = BestNGram([order]).fit(Text(tokens))  # type: ignore[arg-type]
    query = tokens[-40:]

    class Query:
        x = torch.tensor([query])

    p = model.predict(Query).exp()[0]  # type: ignore[arg-type]
    torch.testing.assert_close(p.sum(-1), torch.ones(len(query)))
    for t in (order + 1, len(query) - 1):
        assert p[t].tolist() == pytest.approx(by_the_definition(tokens, order, query[: t + 1], 5), rel=1e-4)


def test_validation_chooses_order_and_smoothing() -> None:
    rng = np.random.default_rng(0)
    words = [bytes(rng.integers(97, 123, rng.integers(3, 8)).tolist()) for _ in range(300)]
    text = b" ".join(words[i] for i in rng.zipf(1.5, 8000) % 300)
    task = ByteTask([Document("t", text)], name="t", title="t", length=64)
    one = BestNGram((2, 4)).fit(task)
    assert one.order == 4 and one.description == "4-grams with Witten-Bell smoothing, both by validation"
    assert score_reference(one, task) == pytest.approx(score_reference(NGram(4).fit(task), task))
    loose = bytes(
        (rng.zipf(1.3, 30_000) % 40 + 60).astype(np.uint8).tolist()
    )  # what was seen once seldom comes again
    task = ByteTask([Document("t", loose)], name="t", title="t", length=64)
    one = BestNGram((3,)).fit(task)
    assert one.smoothing == KNESER_NEY
    assert score_reference(one, task) < score_reference(NGram(3).fit(task), task)
    assert [r.name for r in task.references()] == ["unigram", "trigram", "xz", "n-gram"]
