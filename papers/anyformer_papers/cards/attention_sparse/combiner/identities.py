"""Identities of Combiner, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import mixes, reduces_to, separate
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.sparse.combiner import PARTITIONS, Combiner
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # what stands beyond the window can only be seen through summaries
    task="recall",
    arms={
        "combiner": "[combiner(span=6)]*2 positions=sinusoidal",
        "window": "[attention(window=8)]*2 positions=sinusoidal",
    },
    options={"length": 24, "num_pairs": 4, "vocab_size": 16},
    smallest=0.05,
    steps=400,
    parameters=30_000,
)


@identity("rows of p sum to one and all tokens (causally: all earlier ones) have a part in them; y = p v")
def support() -> None:
    x = torch.randn(2, 37, 16, dtype=torch.float64)
    for partition in PARTITIONS:
        for causal in (True, False):
            mixer = Combiner(16, partition=partition, span=6, causal=causal).double()
            matrix = mixes(mixer, x)
            close("sum", matrix.sum(-1), torch.ones_like(matrix[..., 0]))
            seen = torch.ones(37, 37).tril() if causal else torch.ones(37, 37)
            assert torch.equal(matrix > 0, (seen > 0).expand_as(matrix)), partition


@identity("with regions of one token, and with one block for all, it is softmax attention")
def limits() -> None:
    x = torch.randn(2, 11, 16, dtype=torch.float64)
    for partition in ("fixed", "axial"):
        for causal in (True, False):
            plain = create_mixer("attention", 16, positions="none", causal=causal).double()
            for span in (1, 11):
                mixer = Combiner(16, partition=partition, span=span, causal=causal).double()
                what = f"{partition}, span {span}"
                reduces_to(mixer, plain, x, weights=separate(mixer), what=what, tolerance=1e-12)


@identity("logsparse: query i has as many regions as i has ones in binary, of these sizes")
def fenwick() -> None:
    mixer = Combiner(16, num_heads=1, partition="logsparse").double()
    torch.nn.init.zeros_(mixer.qkv.weight[:32])  # all scores are 0: a region's share is split evenly
    matrix = mixes(mixer, torch.randn(1, 24, 16, dtype=torch.float64))
    for i in range(24):
        ones = [2**level for level in range(5) if i >> level & 1]
        shares = [1 / (len(ones) + 1) / size for size in reversed(ones) for _ in range(size)]
        expected = torch.tensor([*shares, 1 / (len(ones) + 1)], dtype=torch.float64)
        close(f"query {i}", matrix[0, 0, i, : i + 1], expected)
