"""Identities of Avey, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import no_leak, streams
from anyformer.laws.measures import close
from anyformer.mixers.pooling.neural_processor import NeuralProcessor
from anyformer.stack import Stack
from anyformer.wrappers.ranker import Ranker, max_similarity
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # what lies outside of a split is recalled with retrieval and not without
    task="recall",
    arms={
        f"top {k}": f"ranker([neural_processor(context_len=32)*2], split=8, top_k={k}) channel=none positions=none"
        for k in (3, 0)
    },
    options={"vocab_size": 16, "num_pairs": 4, "length": 32},
    smallest=0.05,
    steps=400,
    parameters=30_000,
)


def ranker(top_k: int, split: int = 4, rank_by: str = "previous") -> Ranker:
    layers = [[NeuralProcessor(8, context_len=20)], [NeuralProcessor(8, context_len=20)]]
    return Ranker(8, Stack(8, layers), split=split, top_k=top_k, rank_by=rank_by).double()


@identity("the chosen splits are those of the largest MaxSim, by brute force, in the order of time")
def brute_force() -> None:
    x = torch.randn(3, 7, 4, 8, dtype=torch.float64)
    block, order = ranker(3), torch.arange(7)
    chosen = block.choose(max_similarity(x, x), (order < order[:, None])[None])
    for b in range(3):
        for i in range(7):
            scores = []
            for j in range(i):
                cosines = torch.cosine_similarity(x[b, i][:, None], x[b, j][None], dim=-1)
                scores.append(float(cosines.max(1).values.sum()))
            best = sorted(sorted(range(i), key=lambda j: -scores[j])[:3])
            assert (
                chosen.number[b, i, : len(best)].tolist()
                == best
                == chosen.number[b, i][: int(chosen.taken[b, i])].tolist()
            )
            weights = torch.tensor([max(0.0, scores[j]) / max(scores) for j in best], dtype=torch.float64)
            close("weights", chosen.weight[b, i, : len(best)], weights)


@identity("one split is the plain stack, and without retrieval each split is one of its own")
def splits_alone() -> None:
    x = torch.randn(2, 18, 8, dtype=torch.float64)
    one = ranker(0, split=18)
    close("one split", one(x), one.inner(x))
    many = ranker(0, split=4)
    close("no retrieval", many(x), torch.cat([many.inner(part) for part in x.split(4, 1)], 1))
    assert many.info.reach == (3, 0) and many.info.cost == "n"


@identity("ranked by complete text, later tokens change no earlier output; by the current split they do")
def leak() -> None:
    x = torch.randn(40, 22, 8, dtype=torch.float64)
    other = x.clone()
    other[:, 21:] = 10 * torch.randn(40, 1, 8, dtype=torch.float64)
    strict, paper = ranker(1), ranker(1, rank_by="current")
    no_leak(strict, x, 21)
    moved = (paper(other) - paper(x))[:, 20].abs().amax(-1) > 1e-9
    assert 0.05 < float(moved.double().mean()) <= 1, "a share of first tokens depends on the second"


@identity("token by token, past splits ranked as they complete, it gives what all at once do")
def streamed() -> None:
    block, x = ranker(3), torch.randn(2, 37, 8, dtype=torch.float64)
    streams(block, x)
