"""Avey."""

from __future__ import annotations

import torch

from anyformer.blocks.ranker import Ranker, max_similarity
from anyformer.blocks.stack import Stack
from anyformer.mixers.neural_processor import NeuralProcessor
from anyformer.testing.measures import close
from anyformer_papers.card import Card
from anyformer_papers.study import Study

card = Card(
    slug="avey",
    what="No attention and no recurrence. A ranker cuts the sequence into splits and puts before each those earlier "
    "ones that are most like it; neural processors then mix the tokens of this short context by a learned matrix over "
    "slots, times the cosines of the tokens.",
    parts=("mixer neural_processor", "model avey", "blocks.ranker:Ranker"),
    differs="c_i = g_i sum_j V_ij cos(z_i, z_j) z_j over a context of (k + 1) splits. gMLP has the V without cosines; "
    "attention has softmax(q_i k_j) in its place; retrieval models look up texts of others.",
    followed="code",
    notes="The paper, and the code in training, rank by the whole current split, whose later tokens so choose what "
    "earlier ones see (rank_by=current, not causal here). By default the last complete split is ranked by, which keeps "
    "tokens apart and streams. The code divides scores by that of the earliest chosen split, called the largest; here "
    "by the largest. It fills missing splits with zeros, which its biases turn into tokens; here they are not there. "
    "The text has a bias and an activation in the contextualiser; the code, and this, have neither. The wrapper stands "
    "inside a residual connection, as all do here.",
    claim="What the ranker finds lies beyond the width of the processor: comparable to Transformers of its "
    "size on short benchmarks, and needles are found far beyond the width that it was trained with.",
    study=Study(  # what lies outside of a split is recalled with retrieval and not without
        task="recall",
        arms={
            f"top {k}": f"ranker([neural_processor(context_len=32)*2], split=8, top_k={k}) channel=none positions=none"
            for k in (3, 0)
        },
        options={"vocab_size": 16, "num_pairs": 4, "length": 32},
        smallest=0.05,
        steps=400,
        parameters=30_000,
    ),
)


def ranker(top_k: int, split: int = 4, rank_by: str = "previous") -> Ranker:
    layers = [[NeuralProcessor(8, context_len=20)], [NeuralProcessor(8, context_len=20)]]
    return Ranker(8, Stack(8, layers), split=split, top_k=top_k, rank_by=rank_by).double()


@card.exact("the chosen splits are those of the largest MaxSim, by brute force, in the order of time")
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


@card.exact("one split is the plain stack, and without retrieval each split is one of its own")
def splits_alone() -> None:
    x = torch.randn(2, 18, 8, dtype=torch.float64)
    one = ranker(0, split=18)
    close("one split", one(x), one.inner(x))
    many = ranker(0, split=4)
    close("no retrieval", many(x), torch.cat([many.inner(part) for part in x.split(4, 1)], 1))
    assert many.info.reach == (3, 0) and many.info.cost == "n"


@card.exact("ranked by complete text, later tokens change no earlier output; by the current split they do")
def leak() -> None:
    x = torch.randn(40, 22, 8, dtype=torch.float64)
    other = x.clone()
    other[:, 21:] = 10 * torch.randn(40, 1, 8, dtype=torch.float64)
    strict, paper = ranker(1), ranker(1, rank_by="current")
    close("previous", strict(other)[:, :21], strict(x)[:, :21], 0.0)
    moved = (paper(other) - paper(x))[:, 20].abs().amax(-1) > 1e-9
    assert 0.05 < float(moved.double().mean()) <= 1, "a share of first tokens depends on the second"


@card.exact("token by token, past splits ranked as they complete, it gives what all at once do")
def streams() -> None:
    block, x = ranker(3), torch.randn(2, 37, 8, dtype=torch.float64)
    state, rows = block.init_state(2, dtype=torch.float64), []
    for token in x.split(1, 1):
        y, state = block.stream(token, state)
        rows.append(y)
    close("y", torch.cat(rows, 1), block(x))
