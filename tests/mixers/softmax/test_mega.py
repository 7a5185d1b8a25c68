from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.mega import Mega


def by_hand(mixer: Mega, x: Tensor, chunk: int) -> Tensor:
    """The layer's output x + y, one query at a time (causal)."""
    e = silu(mixer.ema(x) + mixer.omega * x) if mixer.ema is not None else silu(mixer.omega * x)
    K, V, D = mixer.key_dim, mixer.value_dim, mixer.dim
    z, gamma, phi, h = mixer.gates(e).split([K, V, D, D], -1)
    q, k = (silu(z) * mixer.kappa[i] + mixer.mu[i] for i in (0, 1))
    v, rows = silu(mixer.v(x)), []
    for i in range(x.shape[1]):
        start = i // chunk * chunk
        place = torch.arange(x.shape[1], dtype=x.dtype)[None]
        bias = mixer.positions.score(q[:, None], k[:, None], place[:, i : i + 1], place)[:, 0, 0]
        dots = torch.einsum("bk,bsk->bs", q[:, i], k[:, start : i + 1])
        if mixer.normalizer == "softmax":
            p = (dots / math.sqrt(K) + bias[:, start : i + 1]).softmax(-1)
        else:
            s = dots / (i + 1 - start) + bias[:, start : i + 1]
            p = 0.5 * (1 + torch.erf((s - math.sqrt(1 / 2)) / (math.sqrt(1 / (4 * math.pi)) * math.sqrt(2))))
        rows.append(torch.einsum("bs,bsv->bv", p, v[:, start : i + 1]))
    gate = phi.sigmoid()
    return gate * silu(h + mixer.out(silu(gamma) * torch.stack(rows, 1))) + (1 - gate) * x


@pytest.mark.parametrize("normalizer", ["softmax", "laplace"])
@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("averages", [0, 4])
def test_is_the_formula(normalizer: str, chunk: int | None, averages: int) -> None:
    mixer = create_mixer("mega", 6, num_averages=averages, chunk_len=chunk, normalizer=normalizer).double()
    with torch.no_grad():
        for p in mixer.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    x = torch.randn(2, 13, 6, dtype=torch.float64)
    torch.testing.assert_close(x + mixer(x), by_hand(mixer, x, chunk or 99), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("causal", [True, False])
def test_a_chunk_as_long_as_the_sequence_is_the_whole(causal: bool) -> None:
    whole = create_mixer("mega", 6, num_averages=2, causal=causal).double()
    chunks = create_mixer("mega", 6, num_averages=2, causal=causal, chunk_len=20).double()
    chunks.load_state_dict(whole.state_dict())
    x = torch.randn(2, 20, 6, dtype=torch.float64)
    torch.testing.assert_close(chunks(x), whole(x), rtol=1e-9, atol=1e-9)


def test_long_pieces_stream_in_chunks_from_any_place() -> None:
    mixer = create_mixer("mega", 4, num_averages=2, chunk_len=3).double()
    x = torch.randn(2, 40, 4, dtype=torch.float64)
    for first in range(4):
        _, state = mixer.stream(x[:, :first], mixer.init_state(2, dtype=torch.float64))
        y, _ = mixer.stream(x[:, first:], state)
        torch.testing.assert_close(y, mixer(x)[:, first:], rtol=1e-9, atol=1e-9)


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown normalizer 'laplac'; did you mean 'laplace'"):
        create_mixer("mega", 8, normalizer="laplac")
    with pytest.raises(ValueError, match="chunk_len must be at least 1, got 0"):
        create_mixer("mega", 8, chunk_len=0)
    with pytest.raises(ValueError, match="key_dim and value_factor must be at least 1, got 0 and 2"):
        create_mixer("mega", 8, key_dim=0)
