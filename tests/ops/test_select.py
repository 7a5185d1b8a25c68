from __future__ import annotations

import torch

from anyformer.ops.select import best_keys, hash_buckets, latest_of_bucket, nearest_centroid


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
