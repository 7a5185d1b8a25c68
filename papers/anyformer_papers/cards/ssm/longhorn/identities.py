"""Identities of Longhorn, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.measures import close
from anyformer.mixers.state_space.longhorn import Longhorn, longhorn, step_size
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.selective_scan import selective_scan
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # what is recalled after as many steps
    task="recall",
    arms={"longhorn": "[longhorn]*2 channel=none", "mamba": "[mamba]*2 channel=none"},
    options={"vocab_size": 16, "num_pairs": 4, "length": 24},
    smallest=0.05,
    steps=300,
    parameters=30_000,
)


def sequences(T: int = 30, F: int = 3, K: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, beta (1, T, F), k, q (1, T, K)."""
    x, k, q = (torch.randn(1, T, n, dtype=torch.float64) for n in (F, K, K))
    return x, torch.rand(1, T, F, dtype=torch.float64), k, q


@identity("eps solves the regression: the gradient of the objective vanishes at the new state")
def solves_the_objective() -> None:
    _, beta, k, _ = sequences()
    x, old = torch.randn(3, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    beta, k = beta[0, 0], k[0, 0]
    eps = step_size(beta, k)
    new = (old + (eps * (x - old @ k))[:, None] * k).requires_grad_()
    objective = (new - old).square().sum() + (beta * (new @ k - x).square()).sum()
    (gradient,) = torch.autograd.grad(objective, new)
    close("gradient", gradient, torch.zeros_like(gradient), 1e-12)
    close(
        "S (1 - eps k k^T) + eps x k^T",
        new,
        old - eps[:, None] * (old @ k)[:, None] * k + (eps * x)[:, None] * k,
    )


@identity("with one beta a token the exact update is the delta rule with step eps, ours and fla's")
def is_a_delta_rule() -> None:
    x, beta, k, q = sequences()
    eps = step_size(beta[..., :1], k)
    state, outputs = torch.zeros(3, 4, dtype=torch.float64), []
    for t in range(x.shape[1]):
        state = state + (eps[0, t] * (x[0, t] - state @ k[0, t]))[:, None] * k[0, t]
        outputs.append(state @ q[0, t])
    y, _ = delta_rule(q[:, None], k[:, None], x[:, None], eps[..., 0][:, None])
    close("delta rule", y[0, 0], torch.stack(outputs))
    naive = peer("fla.ops.delta_rule.naive").delta_rule_recurrence
    theirs, _ = naive(*(t[:, None].float() for t in (q, k, x)), eps[..., 0][:, None].float())
    close("fla", theirs[0, 0] * k.shape[-1] ** 0.5, y[0, 0], 1e-4)


@identity("the diagonal form = a selective scan, where the keys leave it one rate a state")
def is_a_selective_scan() -> None:
    x, _, _, q = sequences()
    k, step = torch.rand(4, dtype=torch.float64) + 0.3, torch.full((1, 30, 3), 0.3, dtype=torch.float64)
    keys = k.expand(1, 30, 4)
    y, _ = longhorn(x, step, keys, q)
    A = (1 - 0.3 * k.square()).log().expand(3, 4)
    other, _ = selective_scan((0.3 * x).mT, torch.ones_like(step).mT, A, keys.mT, q.mT)
    close("selective scan", y, other.mT)


@identity("1 - eps k^2 is in (0, 1] and the state stays bounded for keys of any length")
def stable() -> None:
    for size in (1e-3, 1.0, 1e3):
        x, beta, k, q = sequences(400)
        step = step_size(beta, size * k)
        keep = 1 - step[..., None] * (size * k).square()[..., None, :]
        assert float(keep.min()) > 0 and float(keep.max()) <= 1
        _, state = longhorn(x, step, size * k, q)
        assert float((state * size).abs().max()) < 400
    assert sum(p.numel() for n, p in Longhorn(8).named_parameters() if "A" in n) == 0
