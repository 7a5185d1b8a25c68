"""Identities of Mamba, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import silu, softplus

from anyformer.convert import from_hf
from anyformer.laws.checks import streams
from anyformer.laws.measures import close
from anyformer.mixers.state_space.mamba import Mamba
from anyformer.ops.long_conv import long_conv
from anyformer.ops.selective_scan import selective_scan, selective_scan_definition
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="selective_copy",
    arms={
        "selective": "[mamba(selective=true)]*2 channel=none",
        "time-invariant": "[mamba(selective=false)]*2 channel=none",
    },
    options={"length": 32, "num_symbols": 4},
    smallest=0.1,
    steps=400,
    parameters=30_000,
)


@identity("logits of transformers' Mamba under the same weights")
def equals_transformers() -> None:
    transformers = peer("transformers")
    sizes = {"vocab_size": 17, "hidden_size": 32, "state_size": 5, "num_hidden_layers": 2}
    theirs = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes)).eval()
    tokens = torch.randint(17, (2, 30))
    close("logits", from_hf(theirs)(tokens), theirs(tokens).logits, 1e-4)


@identity("the scan = the loop of algorithm 2 = one token at a time")
def forms_agree() -> None:
    x, dt = torch.randn(2, 2, 6, 50, dtype=torch.float64)
    A, B_, C_ = -torch.rand(6, 4).double(), *torch.randn(2, 2, 4, 50, dtype=torch.float64)
    for got, expected in zip(
        selective_scan(x, dt.exp(), A, B_, C_), selective_scan_definition(x, dt.exp(), A, B_, C_), strict=True
    ):
        close("scan", got, expected)
    mixer = Mamba(8).double()
    x = torch.randn(2, 20, 8, dtype=torch.float64)
    streams(mixer, x)


@identity("with constant dt, B and C it is a convolution with the kernel sum_k C_k B_k dt exp(s dt A_k)")
def time_invariant() -> None:
    mixer = Mamba(8, state_dim=5, selective=False).double()
    x = torch.randn(2, 40, 8, dtype=torch.float64)
    u, gate = mixer.in_proj(x).chunk(2, -1)
    u, _ = mixer.conv(u)
    dt, A = softplus(mixer.dt)[:, None], -mixer.A_log.exp()
    age = torch.arange(40, dtype=torch.float64)
    kernel = torch.einsum("k,fkt->ft", mixer.C * mixer.B, (age * (dt * A)[..., None]).exp()) * dt
    y = long_conv(u.mT, kernel, skip=mixer.skip).mT
    close("convolution", mixer(x), mixer.out_proj(y * silu(gate)))


@identity("steps of zero leave the state as it is: a token can be skipped, however long the gap")
def skips() -> None:
    mixer = Mamba(8, state_dim=4).double()
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    _, state = mixer.stream(x, mixer.init_state(1))
    with torch.no_grad():
        mixer.dt_proj.weight.zero_()
        mixer.dt_proj.bias.fill_(-800.0)
    _, after = mixer.stream(torch.randn(1, 500, 8, dtype=torch.float64), state)
    close("the state", after["own"]["h"], state["own"]["h"], 1e-15)
