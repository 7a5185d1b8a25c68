from __future__ import annotations

import torch

from anyformer.ops.select import (
    best_blocks,
    best_keys,
    hash_buckets,
    latest_of_bucket,
    nearest_centroid,
    page_bound,
    vertical_slash,
)


def test_best_keys() -> None:
    scores = torch.tensor([[[[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]]]])
    assert best_keys(scores, 2).tolist() == [[[[1, 3], [0, 1]]]]
    visible = torch.tensor([[True, False, True, False], [False, False, False, True]])
    assert best_keys(scores, 3, visible).tolist() == [[[[2, 0, -1], [3, -1, -1]]]]
    assert best_keys(scores, 9).shape[-1] == 4


def test_hashes_depend_on_the_angle_alone_and_opposites_never_meet() -> None:
    x, directions = torch.randn(2, 3, 50, 8), torch.randn(3, 8, 4)
    found = hash_buckets(x, directions)
    assert torch.equal(found, hash_buckets(5 * x, directions))
    assert not bool((found == hash_buckets(-x, directions)).any())
    assert int(found.min()) == 0 and int(found.max()) == 7
    near, far = x + 0.05 * torch.randn_like(x), torch.randn_like(x)
    same = [float((hash_buckets(t, directions) == found).float().mean()) for t in (near, far)]
    assert same[0] > 0.8 > 0.3 > same[1]


def test_nearest_centroid() -> None:
    centroids = torch.eye(4)[None]
    assert nearest_centroid(torch.eye(4)[None, None, [2, 0, 3]], centroids).tolist() == [[[2, 0, 3]]]


def test_latest_of_bucket() -> None:
    bucket, index = torch.tensor([[[0, 1, 0, -1, 0, 1]]]), torch.arange(6)[None, None]
    found = latest_of_bucket(bucket, bucket, 2, q_index=index, k_index=index)
    assert found.tolist() == [[[[0, -1], [1, -1], [2, 0], [-1, -1], [4, 2], [5, 1]]]]


def test_a_page_bound_is_never_below_a_product_and_is_reached_by_a_page_of_one() -> None:
    q, k = torch.randn(2, 3, 20, 8), torch.randn(2, 3, 24, 8)
    pages = k.unflatten(2, (6, 4))
    bound = page_bound(q, pages.amin(3), pages.amax(3))
    assert bool((bound >= (q @ k.mT).unflatten(3, (6, 4)).amax(-1) - 1e-5).all())
    torch.testing.assert_close(page_bound(q, k, k), q @ k.mT)


def test_best_blocks_are_one_s_own_and_the_best_before_it() -> None:
    q, k = torch.randn(1, 1, 11, 4), torch.randn(1, 1, 11, 4)
    slots = best_blocks(q, k, 3, 1)[0, 0]
    score = lambda a, b: float(q[0, 0, 3 * a : 3 * a + 3].mean(0) @ k[0, 0, 3 * b : 3 * b + 3].mean(0))
    for i in range(11):
        own = i // 3
        best = max(range(own), key=lambda b: score(own, b), default=None)
        expected = set(range(3 * own, i + 1))
        if best is not None:
            expected |= set(range(3 * best, 3 * best + 3))
        found = [j for j in slots[i].tolist() if j >= 0]
        assert len(found) == len(set(found)) and set(found) == expected


def test_vertical_slash_is_columns_and_diagonals() -> None:
    q, k = torch.randn(1, 2, 12, 4), torch.randn(1, 2, 12, 4)
    slots = vertical_slash(q, k, 3, 2, last=4)
    p = (q @ k.mT / 2).masked_fill(~torch.ones(12, 12).tril().bool(), -torch.inf).softmax(-1)[:, :, 8:]
    for h in range(2):
        columns = p[0, h].sum(0).topk(3).indices.tolist()
        mass = [sum(float(p[0, h, r, 8 + r - d]) for r in range(4) if 8 + r >= d) for d in range(12)]
        slash = max(range(1, 12), key=lambda d: mass[d])
        for i in range(12):
            expected = {j for j in [*columns, i, i - slash] if 0 <= j <= i}
            found = [j for j in slots[0, h, i].tolist() if j >= 0]
            assert len(found) == len(set(found)) and set(found) == expected, (h, i)
