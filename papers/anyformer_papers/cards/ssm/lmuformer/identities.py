"""Identities of LMUFormer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import streams
from anyformer.laws.measures import close
from anyformer.layers.state_space import hippo_legt
from anyformer.mixers.state_space.lmu import LMU
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # a proxy: small images as sequences of patches
    task="digits",
    arms={
        "lmu": "[conv_stem(channel=none), [lmu(window=36)]*2] channel=mlp norm=layer_norm positions=none",
        "attention": "[conv_stem(channel=none), [attention]*2] channel=mlp norm=layer_norm positions=none",
    },
    options={"canvas": 12},
    smallest=0.02,
    expect="no worse",
    steps=1000,
    parameters=40_000,
)


@identity("A and B = scipy's zero-order hold of the Legendre delay system")
def matrices() -> None:
    cont2discrete = peer("scipy.signal").cont2discrete
    np = peer("numpy")
    q, theta = 6, 20.0
    i, j = np.meshgrid(np.arange(q), np.arange(q), indexing="ij")
    rate = (2 * i + 1) / theta
    A = rate * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    B = rate[:, :1] * (-1.0) ** i[:, :1]
    expected = cont2discrete((A, B, np.ones((1, q)), np.zeros((1, 1))), dt=1.0, method="zoh")
    ours = hippo_legt(q, theta)
    close("A", ours[0], torch.from_numpy(expected[0]))
    close("B", ours[1], torch.from_numpy(expected[1][:, 0]))


@identity("the convolution = the recurrence, token by token and in pieces")
def forms_agree() -> None:
    mixer, x = LMU(8, order=7, window=20, num_inputs=2).double(), torch.randn(2, 50, 8, dtype=torch.float64)
    streams(mixer, x, 1, 7)


@identity("the memory tells the input at any time of its window: a sine to 0.03, from 10 numbers")
def remembers() -> None:
    q, theta, T = 10, 100, 400
    A, B = hippo_legt(q, theta)
    u = torch.sin(2 * torch.pi * torch.arange(T, dtype=torch.float64) / 80)
    m = torch.zeros(q, dtype=torch.float64)
    for value in u:
        m = A @ m + B * value
    for delay in (0, 25, 50, 75, 100):
        x = torch.tensor(2 * delay / theta - 1, dtype=torch.float64)
        legendre = [torch.ones_like(x), x]
        for n in range(1, q - 1):
            legendre.append(((2 * n + 1) * x * legendre[n] - n * legendre[n - 1]) / (n + 1))
        # the input is held for a step, and so the last value is half a step old
        expected = torch.sin(2 * torch.pi * torch.tensor((T - 0.5 - delay) / 80))
        assert abs(float(torch.stack(legendre) @ m - expected)) < 0.03, delay
