"""PatchTST and PatchTSMixer of transformers, under the same weights."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from anyformer.models import SequenceModel, create_model

transformers = pytest.importorskip("transformers")

SHAPE = {
    "num_input_channels": 3,
    "context_length": 30,
    "prediction_length": 5,
    "patch_length": 6,
    "d_model": 16,
    "scaling": None,
    "loss": "mse",
}
PATCHTST = {
    "model.encoder.embedder.input_embedding": "embed.project",
    "model.encoder.positional_encoder.position_enc": "embed.places",
    "model.encoder.layers.N.self_attn.": "body.stack.sublayers.2N+0.inner.",
    "_proj.": ".",
    "model.encoder.layers.N.ff.0": "body.stack.sublayers.2N+1.up",
    "model.encoder.layers.N.ff.3": "body.stack.sublayers.2N+1.down",
    "model.encoder.layers.N.norm_sublayer1": "body.stack.residual.norms.2N+0",
    "model.encoder.layers.N.norm_sublayer3": "body.stack.residual.norms.2N+1",
    "head.projection": "head",
}
"""Names of modules in transformers, and ours; ``2N+1`` is the second of two sublayers of layer N."""


def mixer_names(*sublayers: str) -> dict[str, str]:
    """Return the same for PatchTSMixer with these sublayers in a layer."""
    named = {"model.encoder.patcher": "embed.project", "head.base_forecast_block": "head"}
    for place, sublayer in enumerate(sublayers):
        theirs = f"model.encoder.mlp_mixer_encoder.mixers.N.{sublayer}"
        number = f"{len(sublayers)}N+{place}"
        for module, mine in {"mlp.fc1": "up", "mlp.fc2": "down", "gating_block.attn_layer": "gate"}.items():
            named[f"{theirs}.{module}"] = f"body.stack.sublayers.{number}.{mine}"
        named[f"{theirs}.norm.norm"] = f"body.stack.residual.norms.{number}"
    return named


def ours(key: str, names: dict[str, str]) -> str:
    """Return our name of a parameter."""
    for theirs, mine in names.items():
        pattern = re.escape(theirs).replace("N", r"(\d+)", 1) if ".N." in theirs else re.escape(theirs)
        found = re.search(pattern, key)
        if found:
            layer = int(found[1]) if found.groups() else 0
            mine = re.sub(r"(\d)N\+(\d)", lambda n, layer=layer: str(int(n[1]) * layer + int(n[2])), mine)  # type: ignore[misc]
            key = key.replace(found[0], mine)
    return key


def equal(peer: nn.Module, model: SequenceModel, names: dict[str, str]) -> None:
    """Compare outputs, and gradients of the input, under the peer's weights with noise on all of them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    peer, model = peer.double().eval(), model.double().eval()
    model.load_state_dict({ours(key, names): value for key, value in peer.state_dict().items()})
    x = torch.randn(4, 30, 3, dtype=torch.float64, requires_grad=True)
    mine, theirs = model(x).view(4, 5, 3), peer(past_values=x).prediction_outputs
    torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-9)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (mine, theirs)]
    torch.testing.assert_close(*grads, atol=1e-8, rtol=1e-8)


def build(spec: str, **changes: Any) -> SequenceModel:
    window = {"steps": 30, "columns": 3, "targets": [0, 1, 2], "horizon": 5}
    return create_model(spec, num_features=3, num_outputs=15, pool="last", window=window, dim=16, **changes)


@pytest.mark.parametrize("stride", [3, 6])
def test_patchtst(stride: int) -> None:
    """With layer norms, behind the residual as in the paper, whose norms are over the batch."""
    config = transformers.PatchTSTConfig(
        **SHAPE,
        patch_stride=stride,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=20,
        norm_type="layernorm",
        pre_norm=False,
        positional_encoding_type="random",
        use_cls_token=False,
        pooling_type=None,
    )
    model = build(
        "patchtst channel=mlp(hidden_dim=20)",
        layers="[axial(inner=attention(num_heads=4, bias=true), axis=1)]*2",
        embed=f"series_patches(size=6, stride={stride})",
    )
    equal(transformers.PatchTSTForPrediction(config), model, PATCHTST)


@pytest.mark.parametrize("mode", ["common_channel", "mix_channel"])
def test_patchtsmixer(mode: str) -> None:
    """But for our norm behind the last layer."""
    columns, more = ("all", ["channel_feature_mixer"]) if mode == "mix_channel" else ("targets", [])
    config = transformers.PatchTSMixerConfig(
        **SHAPE, patch_stride=6, num_layers=2, mode=mode, gated_attn=True
    )
    embed = f"series_patches(size=6, stride=6, positions=false, columns={columns})"
    model = build("tsmixer", columns=columns, embed=embed)
    model.body.stack.residual.last = nn.Identity()  # type: ignore[assignment]
    names = mixer_names(*more, "patch_mixer", "feature_mixer")
    equal(transformers.PatchTSMixerForPrediction(config), model, names)
