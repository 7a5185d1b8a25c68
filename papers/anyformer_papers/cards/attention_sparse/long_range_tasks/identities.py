"""Identities of The NLP task effectiveness of long-range transformers, and its study."""

from __future__ import annotations

import torch

from anyformer.inspect import depth_error, implied_matrix, influence, mass_by_distance
from anyformer.laws.checks import mixes
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # what is asked for stands up to 23 tokens back
    task="recall",
    arms={
        "dense": "[attention]*2",
        "window": "[longformer(window=6)]*2",
        "kernel": "[linear_attention(rotary=true)]*2",
    },
    options={"length": 24, "num_pairs": 4, "vocab_size": 16},
    smallest=0.05,
    steps=500,
    parameters=30_000,
)


@identity("the implied matrix is the true one where a mixer has one: softmax, window, kernel, low rank")
def implied() -> None:
    x = torch.randn(2, 13, 16, dtype=torch.float64)
    for name, options, values in (
        ("attention", {}, "v"),
        ("attention", {"window": 4}, "v"),
        ("linear_attention", {}, "v"),
        ("linformer", {"max_length": 13, "proj_len": 4}, "qkv"),
        ("nystromformer", {"num_landmarks": 4, "conv_width": 3}, "v"),
    ):
        mixer = create_mixer(name, 16, **options).double()
        close(name, implied_matrix(mixer, x, values=values), mixes(mixer, x))


@identity("beyond a window no weight lies, and nothing has influence; causal mixers have none ahead")
def windows() -> None:
    x, w, T = torch.randn(1, 20, 16, dtype=torch.float64), 5, 20
    for mixer in (create_mixer("attention", 16, window=w), create_mixer("pooling", 16, window=w)):
        matrix = influence(mixer.double(), x)
        mass = mass_by_distance(matrix)
        assert bool((mass[T - 1 : T - 1 + w] > 0).all())
        assert bool((mass[: T - 1] == 0).all()) and bool((mass[T - 1 + w :] == 0).all())
    mass = mass_by_distance(implied_matrix(create_mixer("attention", 16).double(), x))
    close("sum", mass.sum(), torch.ones((), dtype=torch.float64))
    assert bool((mass[: T - 1] == 0).all()) and bool((mass[T - 1 :] > 0).all())


@identity(
    "flat attention has mass (T - d) / T^2 at distance d, or, causally, the mean of 1 / (t + 1) over t >= d"
)
def flat() -> None:
    T = 12
    for causal in (True, False):
        mixer = create_mixer("attention", 8, positions="none", causal=causal).double()
        mixer.load_state_dict({"q.weight": torch.zeros(8, 8)}, strict=False)
        mass = mass_by_distance(implied_matrix(mixer, torch.randn(1, T, 8, dtype=torch.float64)))
        for d in range(T):
            expected = sum(1 / (t + 1) for t in range(d, T)) / T if causal else (T - d) / T**2
            close(f"distance {d}", mass[T - 1 + d], torch.tensor(expected, dtype=torch.float64))


@identity(
    "a low-rank copy of a deep dense model is further off from layer to layer, by what has been added to the stream"
)
def accumulation() -> None:
    fields = "causal=false positions=sinusoidal channel=none dim=32"
    dense = create_model(
        f"[attention(bias=true)]*8 {fields}", vocab_size=20, num_outputs=2, pool="mean"
    ).double()
    low_rank = "nystromformer(bias=true, num_landmarks=8, conv_width=0)"
    copy = create_model(f"[{low_rank}]*8 {fields}", vocab_size=20, num_outputs=2, pool="mean").double()
    copy.load_state_dict(dense.state_dict())
    errors = depth_error(dense, copy, torch.randint(20, (4, 64)))
    assert errors[0] == 0 < errors[1] < errors[3] < errors[7], errors
