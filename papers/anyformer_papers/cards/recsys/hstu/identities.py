"""Identities of HSTU."""

from __future__ import annotations

import torch
from torch.nn.functional import layer_norm, silu

from anyformer.laws.checks import inputs_of, mixes, no_leak, streams
from anyformer.laws.measures import close
from anyformer.layers.heads import split_heads
from anyformer.mixers.softmax.hstu import EPSILON, HSTU
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity


def layer() -> tuple[HSTU, torch.Tensor]:
    """A mixer with large weights, beside which the epsilon of its norm is small, and its input."""
    mixer = HSTU(12, num_heads=3).double()
    with torch.no_grad():
        mixer.into.weight.mul_(20)
    return mixer, torch.randn(2, 30, 12, dtype=torch.float64)


@identity("equations 1 to 3: split(silu(W x)), silu(q k + b) v, W (norm * u)")
def is_the_formula() -> None:
    mixer, x = layer()
    u, *heads = silu(mixer.into(x)).chunk(4, -1)
    v, q, k = (split_heads(t, 3) for t in heads)
    place = torch.arange(30.0, dtype=torch.float64).expand(2, 30)
    bias = mixer.positions.score(q, k, place, place)
    assert bias is not None
    scores = q @ k.mT + bias
    keys = torch.arange(1, 31)[:, None]
    y = ((silu(scores).tril() / keys) @ v).transpose(1, 2).flatten(2)
    close("y", mixer(x), mixer.out(layer_norm(y, (12,), eps=EPSILON) * u))


@identity(
    "what the sums are divided by cancels in the norm, so that the length to which a batch is padded does"
)
def lengths_cancel() -> None:
    mixer, x = layer()
    u, v, q, k = mixer._project(x, inputs_of(x))
    place = torch.arange(30.0, dtype=torch.float64).expand(2, 30)
    bias = mixer.positions.score(q, k, place, place)
    whole = attention(q, k, v, bias=bias, scale=1.0, normalizer="silu", causal=True)
    for padded in (30, 200):
        close(f"padded to {padded}", mixer._finish(whole / padded, u), mixer(x), 1e-4)


@identity(
    "one token at a time = pieces of any size = the whole; nothing leaks from later tokens; a matrix times values"
)
def forms_agree() -> None:
    mixer, x = layer()
    streams(mixer, x, 1, 7)
    no_leak(mixer, x, 11)
    mixes(mixer, x)


@identity(
    "weights do not compete: a key that is repeated gets its weight twice, where a softmax's share would stay"
)
def counts() -> None:
    q, k, v = (torch.randn(1, 2, 5, 4, dtype=torch.float64) for _ in range(3))
    twice = [torch.cat([t, t], 2) for t in (k, v)]
    once = attention(q, k, v, normalizer="silu")
    close("silu", attention(q, *twice, normalizer="silu"), 2 * once)
    close("softmax", attention(q, *twice), attention(q, k, v))
