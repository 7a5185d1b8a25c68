"""Same weights, same output as the recurrent mixers of transformers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anyformer.channels import create_channel
from anyformer.mixers import create_mixer

pytest.importorskip("transformers", reason="transformers is not installed")


def randomize(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double().eval()


def fill(mixer: nn.Module, peer: nn.Module, names: dict[str, str]) -> nn.Module:
    """Load the peer's parameters; ``names`` maps its names to ours where they differ."""
    theirs = {names.get(k, k): v for k, v in peer.state_dict().items()}
    mixer = mixer.double()
    ours = mixer.state_dict()
    mixer.load_state_dict({k: v.reshape(ours[k].shape) for k, v in theirs.items()})
    return mixer


@pytest.mark.parametrize("bias", [False, True])
def test_mamba(bias: bool) -> None:
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = MambaConfig(hidden_size=24, state_size=5, num_hidden_layers=1, conv_kernel=3, use_bias=bias)
    peer = randomize(MambaMixer(config, layer_idx=0))
    mine = create_mixer("mamba", 24, state_dim=5, conv_width=3, bias=bias)
    mine = fill(mine, peer, {"conv1d.weight": "conv.weight", "conv1d.bias": "conv.bias", "D": "skip"})
    x = torch.randn(2, 37, 24, dtype=torch.float64, requires_grad=True)
    y, theirs = mine(x), peer(x)
    torch.testing.assert_close(y, theirs, rtol=1e-5, atol=1e-6)
    grads = [torch.autograd.grad(o.square().sum(), x)[0] for o in (y, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


def rwkv_config() -> object:
    from transformers import RwkvConfig

    return RwkvConfig(hidden_size=16, attention_hidden_size=24, intermediate_size=40, num_hidden_layers=2)


def test_rwkv_time_mixing() -> None:
    from transformers.models.rwkv.modeling_rwkv import RwkvSelfAttention

    peer = RwkvSelfAttention(rwkv_config(), layer_id=1)
    with torch.no_grad():  # the module alone leaves these uninitialised
        for name, parameter in peer.named_parameters():
            if name.startswith("time_"):
                nn.init.uniform_(parameter, 0.0, 1.0)
    peer = randomize(peer)
    names = {"time_decay": "log_decay", "time_first": "bonus"}
    names |= {f"time_mix_{k}": f"mix_{k}" for k in ("key", "value", "receptance")}
    mine = fill(create_mixer("rwkv4", 16, hidden_dim=24), peer, names)
    x = torch.randn(2, 37, 16, dtype=torch.float64)
    torch.testing.assert_close(mine(x), peer(x)[0], rtol=1e-5, atol=1e-6)


def test_rwkv_channel_mixing() -> None:
    from transformers.models.rwkv.modeling_rwkv import RwkvFeedForward

    peer = RwkvFeedForward(rwkv_config(), layer_id=1)
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            if name.startswith("time_"):
                nn.init.uniform_(parameter, 0.0, 1.0)
    peer = randomize(peer)
    names = {f"time_mix_{k}": f"mix_{k}" for k in ("key", "receptance")}
    mine = fill(create_channel("rwkv4_channel", 16, hidden_dim=40), peer, names)
    x = torch.randn(2, 37, 16, dtype=torch.float64)
    torch.testing.assert_close(mine(x), peer(x)[0], rtol=1e-5, atol=1e-6)
