from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyformer.mixers import create_mixer
from anyformer.mixers.sparse.combiner import Combiner


def regions(i: int, T: int, span: int, partition: str, causal: bool) -> tuple[list[int], list[list[int]]]:
    """Direct keys of query i, and its regions, each as the keys that it has."""
    if partition == "logsparse":
        found, level = [], 0
        while 2**level < T:
            start = ((i >> level) ^ 1) << level
            region = [j for j in range(start, start + 2**level) if j < T]
            if region and (not causal or region[-1] < i):
                found.append(region)
            level += 1
        return [i], found
    row = i // span
    rows = [[j for j in range(r * span, (r + 1) * span) if j < T] for r in range(-(-T // span))]
    direct = [j for j in rows[row] if not causal or j <= i]
    return direct, [rows[r] for r in range(row if causal else len(rows)) if r != row]


def matrix(q: Tensor, k: Tensor, mixer: Combiner) -> Tensor:
    """p(j|i) of one head, by the formula."""
    T, K = q.shape
    p = torch.zeros(T, T, dtype=q.dtype)
    for i in range(T):
        direct, far = regions(i, T, mixer.span, mixer.partition, mixer.causal)
        region_keys, within = [], []
        for region in far:
            if mixer.partition == "axial":
                at = region[min(i % mixer.span, len(region) - 1)]
                region_query, region_key = q[at], k[at]
            else:
                region_query, region_key = q[region].amax(0), k[region].amax(0)
            region_keys.append(region_key)
            within.append((k[region] @ region_query / K**0.5).softmax(0))
        scores = torch.cat([k[direct], *(r[None] for r in region_keys)]) @ q[i] / K**0.5
        weights = scores.softmax(0)
        p[i, direct] = weights[: len(direct)]
        for weight, region, share in zip(weights[len(direct) :], far, within):
            p[i, region] = weight * share
    return p


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("partition", ["fixed", "logsparse", "axial"])
@pytest.mark.parametrize("T", [1, 4, 11])
def test_is_the_factorised_distribution(T: int, partition: str, causal: bool) -> None:
    mixer = create_mixer("combiner", 8, num_heads=2, partition=partition, span=4, causal=causal).double()
    x = torch.randn(1, T, 8, dtype=torch.float64)
    q, k, _ = mixer._project(x)
    found = mixer.mixing(x).matrix
    for h in range(2):
        torch.testing.assert_close(found[0, h], matrix(q[0, h], k[0, h], mixer))
    support = torch.ones(T, T).tril() if causal else torch.ones(T, T)
    assert torch.equal(found[0, 0] > 0, support > 0)
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 2, T, dtype=torch.float64))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"partition": "tree"}, "partition must be one of fixed, logsparse, axial; got 'tree'"),
        ({"span": 0}, "span must be at least 1, got 0"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("combiner", 8, **options)
