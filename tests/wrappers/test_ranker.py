from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyformer.contract import Inputs
from anyformer.inputs import Call
from anyformer.laws import check_mixer
from anyformer.mixers.pooling.neural_processor import NeuralProcessor
from anyformer.models import create_model, load_spec
from anyformer.models.build import Backbone
from anyformer.stack import Stack
from anyformer.wrappers.ranker import Ranker, max_similarity


def make(**options: object) -> Ranker:
    layers = [[NeuralProcessor(8, context_len=16)], [NeuralProcessor(8, context_len=16)]]
    return Ranker(8, Stack(8, layers), **{"split": 3, "top_k": 2, **options}).double()


def by_hand(ranker: Ranker, x: Tensor) -> Tensor:
    """One sample, split by split: rank, weigh, put before, run, and keep the last tokens."""
    S, k, rows = ranker.split, ranker.top_k, []
    splits = x.split(S)
    unit = [t / t.norm(dim=-1, keepdim=True) for t in splits]
    for i, own in enumerate(splits):
        query = unit[i] if ranker.rank_by == "current" else unit[max(0, i - 1)]
        scores = [float((query @ unit[j].T).max(1).values.sum()) for j in range(i)]
        best = sorted(sorted(range(i), key=lambda j: -scores[j])[:k])
        top = max([scores[j] for j in best], default=1.0)
        context = torch.cat([splits[j] * max(0.0, scores[j]) / top for j in best] + [own])[None]
        slot = (torch.arange(context.shape[1]) + (k - len(best)) * S)[None]
        y = ranker.inner(context, Inputs(None, slot, slot.double(), None, Call()))
        rows.append(y[0, -len(own) :])
    return torch.cat(rows)


@pytest.mark.parametrize("rank_by", ["previous", "current"])
@pytest.mark.parametrize("top_k", [0, 1, 2, 4])
@pytest.mark.parametrize("T", [2, 3, 14, 18])
def test_is_the_loop_over_splits(rank_by: str, top_k: int, T: int) -> None:
    ranker, x = make(rank_by=rank_by, top_k=top_k), torch.randn(2, T, 8, dtype=torch.float64)
    expected = torch.stack([by_hand(ranker, sample) for sample in x])
    torch.testing.assert_close(ranker(x), expected, rtol=1e-9, atol=1e-9)


def test_ragged_samples_choose_among_their_own_splits() -> None:
    ranker, x = make(), torch.randn(3, 20, 8, dtype=torch.float64)
    lengths = [20, 7, 0]
    mask = torch.arange(20) < torch.tensor(lengths)[:, None]
    y = ranker(x, mask=mask)
    for b, n in enumerate(lengths[:2]):
        torch.testing.assert_close(y[b, :n], by_hand(ranker, x[b, :n]), rtol=1e-9, atol=1e-9)


def test_similarity_is_the_double_loop() -> None:
    q, splits = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 6, 4, 5, dtype=torch.float64)
    found = max_similarity(q, splits)
    for b in range(2):
        for a in range(3):
            for j in range(6):
                cosines = torch.cosine_similarity(q[b, a][:, None], splits[b, j][None], dim=-1)
                torch.testing.assert_close(found[b, a, j], cosines.max(1).values.sum())
    zero = torch.zeros(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    max_similarity(zero, zero).sum().backward()
    assert zero.grad is not None and bool(zero.grad.isfinite().all())


@pytest.mark.parametrize("top_k", [0, 2])
def test_the_laws_hold_over_many_small_splits(top_k: int) -> None:
    spec = load_spec(
        f"ranker([neural_processor(context_len=12)], split=4, top_k={top_k}) dim=8 channel=none positions=none"
    )
    laws = ["streaming", "padding", "reach", "gradient", "independence", "length", "cost"]
    check_mixer(lambda: Backbone(spec), only=laws)


def test_the_current_split_tells_of_later_tokens() -> None:
    """Ranked by the whole current split, its last token can change what its first one sees; by the previous, not."""
    changed = {}
    for rank_by in ("previous", "current"):
        ranker, x = make(rank_by=rank_by, top_k=1), torch.randn(64, 18, 8, dtype=torch.float64)
        other = x.clone()
        other[:, 17] = 10 * torch.randn(64, 8, dtype=torch.float64)
        changed[rank_by] = float((ranker(x) - ranker(other))[:, 15].abs().max().detach())
    assert changed["previous"] == 0 and changed["current"] > 1e-6
    assert make(rank_by="current").info.reach == (None, 2) and make().info.causal


def test_errors() -> None:
    with pytest.raises(ValueError, match="inner must take 18 tokens, got max_length 16"):
        make(top_k=5)
    with pytest.raises(ValueError, match="split must be at least 1 and top_k at least 0, got 0 and 2"):
        make(split=0)
    with pytest.raises(ValueError, match="rank_by must be one of previous, current, got 'next'"):
        make(rank_by="next")
    assert create_model("avey dim=16", vocab_size=5)(torch.randint(5, (2, 70))).shape == (2, 70, 5)
