from __future__ import annotations

import pytest
import torch
from torch.nn.functional import layer_norm

from anyformer.contract import Call, after_step
from anyformer.mixers import create_mixer
from anyformer.mixers.sparse.routing_attention import attend_in_clusters
from anyformer.ops.attention import attention
from anyformer.ops.select import nearest_centroid


@pytest.mark.parametrize("size", [1, 4, 100])
def test_causal_is_dense_attention_to_the_latest_of_the_cluster(size: int) -> None:
    mixer = create_mixer("routing_attention", 16, num_heads=2, num_clusters=3, cluster_size=size).double()
    x = torch.randn(2, 23, 16, dtype=torch.float64)
    q, v = (layer(x).reshape(2, 23, 2, 8).transpose(1, 2) for layer in (mixer.q, mixer.v))
    q = layer_norm(q, (8,))
    cluster = nearest_centroid(q, mixer.centroids)
    same = (cluster[..., :, None] == cluster[..., None, :]).tril()
    later = same.flip(-1).cumsum(-1).flip(-1)  # tokens of the cluster from there to the query
    y = attention(q, q, v, visible=same & (later <= size))
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("causal", [True, False])
def test_clusters_of_one_size_by_the_formula(causal: bool) -> None:
    q, k, v = (torch.randn(1, 1, 9, 4, dtype=torch.float64) for _ in range(3))
    centroids = torch.randn(1, 3, 4, dtype=torch.float64)
    y = attend_in_clusters(q, k, v, centroids, 4, causal=causal)[0, 0]
    total, times = torch.zeros(9, 4, dtype=torch.float64), torch.zeros(9, 1, dtype=torch.float64)
    for centroid in centroids[0]:
        queries, keys = ((t[0, 0] @ centroid).argsort(descending=True)[:4] for t in (q, k))
        for i in queries.tolist():
            seen = [j for j in keys.tolist() if not causal or j <= i]
            if seen:
                total[i] += (k[0, 0, seen] @ q[0, 0, i] / 2).softmax(0) @ v[0, 0, seen]
            times[i] += 1
    torch.testing.assert_close(y, total / times.clamp_min(1))
    assert bool((times == 0).any()) and bool((times > 1).any())


def test_centroids_move_towards_what_is_nearest_to_them() -> None:
    mixer = create_mixer("routing_attention", 8, num_heads=1, num_clusters=5, decay=0.75)
    x = torch.randn(2, 6, 8)
    q = layer_norm(mixer.q(x), (8,)).detach()
    before = mixer.centroids.clone()
    cluster = nearest_centroid(q[:, None], before)[:, 0]
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    call = Call()
    mixer.train()(x, mask=mask, call=call)
    assert torch.equal(mixer.centroids, before)
    after_step([mixer], call, 0.5)
    for n in range(5):
        members = q[(cluster == n) & mask]
        expected = before[0, n]
        if len(members):
            expected = 0.75 * expected + 0.25 * members.sum(0) / members.sum(0).norm()
        torch.testing.assert_close(mixer.centroids[0, n], expected)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_clusters": 0}, "num_clusters and cluster_size must be at least 1, got 0 and 32"),
        ({"decay": 1.0}, "decay must be at least 0 and below 1, got 1.0"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("routing_attention", 8, **options)
