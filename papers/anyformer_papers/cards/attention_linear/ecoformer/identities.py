"""Identities of EcoFormer, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from anyformer.laws.checks import mixes
from anyformer.laws.measures import close
from anyformer.layers.heads import merge_heads, split_heads
from anyformer.layers.kernel_hash import KernelHash
from anyformer.mixers.linear.ecoformer import EcoFormer
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy: of the accuracy, not the energy
    task="digits",
    arms={
        "codes": "[ecoformer]*2 causal=false positions=learned(max_length=64) channel=mlp norm=layer_norm",
        "attention": "[attention]*2 causal=false positions=learned(max_length=64) channel=mlp norm=layer_norm",
    },
    smallest=0.02,
    expect="no worse",
    steps=1000,
    parameters=30_000,
    options={"canvas": 12},
)


@identity("products of codes are bits less twice the Hamming distance, and so all weights positive")
def hamming() -> None:
    mixer, x = EcoFormer(16).double(), torch.randn(2, 40, 16, dtype=torch.float64)
    qk = normalize(split_heads(mixer.qk(x), 4), dim=-1)
    codes = mixer.hash(qk)
    differ = (codes[:, :, :, None] != codes[:, :, None]).sum(-1)
    close("products", codes @ codes.mT, 16.0 - 2 * differ)
    matrix = mixes(mixer, x)
    assert bool((matrix >= 0).all())
    close("weights", matrix.sum(-1), torch.ones(2, 4, 40))


@identity("the linear order = the matrix of affinities, causal and not")
def orders() -> None:
    for causal in (True, False):
        mixer, x = EcoFormer(16, causal=causal).double(), torch.randn(2, 150, 16, dtype=torch.float64)
        codes = mixer.hash(normalize(split_heads(mixer.qk(x), 4), dim=-1))
        weights = codes @ codes.mT + 17
        weights = weights.tril() if causal else weights
        y = weights / weights.sum(-1, keepdim=True) @ split_heads(mixer.v(x), 4)
        close("y", mixer(x), mixer.out(merge_heads(y)))


def _rank(x: Tensor) -> Tensor:
    return x.flatten().argsort().argsort().double()


@identity("fitted codes agree with attention on unseen tokens more than random planes do (rank correlation)")
def learned() -> None:
    axes = torch.randn(4, 8)  # tokens around four directions
    fitted: list[Tensor] = []
    random: list[Tensor] = []
    for _ in range(5):
        seen, unseen = (
            normalize(axes[torch.randint(4, (120,))] + 0.4 * torch.randn(120, 8), dim=-1)[None]
            for _ in range(2)
        )
        hashes = KernelHash(1, 8, 16, 20)
        hashes.fit(seen, num_pairs=20)
        planes = torch.where(unseen @ torch.randn(8, 16) > 0, 1.0, -1.0)
        similar = _rank(unseen[0] @ unseen[0].mT)
        for codes, found in ((hashes(unseen[None])[0], fitted), (planes, random)):
            noise = 1e-3 * torch.rand(120, 120)  # settles ties
            found.append(torch.corrcoef(torch.stack((similar, _rank(codes[0] @ codes[0].mT + noise))))[0, 1])
    assert min(fitted) > 0.5 and sum(fitted) > sum(random), (fitted, random)


@identity("each fitted bit adds to the agreement of codes with the labels")
def greedy() -> None:
    x = normalize(torch.randn(1, 100, 8, dtype=torch.float64), dim=-1)
    hashes = KernelHash(1, 8, 12, 20).double()
    hashes.fit(x, num_pairs=15)
    codes, labels = hashes(x[None])[0, 0], hashes._labels(x, 15)[0]
    residual = 12 * labels
    for bit in codes.T:
        assert float(bit @ residual @ bit) > float(bit.square().sum()), "a bit that agrees with nothing"
        residual = residual - bit[:, None] * bit
