"""PatchTST of transformers, under the same weights."""

from __future__ import annotations

import re

import pytest
import torch

from anyformer.models import create_model

transformers = pytest.importorskip("transformers")

NAMES = {
    r"model\.encoder\.embedder\.input_embedding": "embed.project",
    r"model\.encoder\.positional_encoder\.position_enc": "embed.places",
    r"model\.encoder\.layers\.(\d+)\.self_attn\.(q|k|v|out)_proj": r"body.stack.sublayers.\1*2+0.inner.\2",
    r"model\.encoder\.layers\.(\d+)\.ff\.0": r"body.stack.sublayers.\1*2+1.up",
    r"model\.encoder\.layers\.(\d+)\.ff\.3": r"body.stack.sublayers.\1*2+1.down",
    r"model\.encoder\.layers\.(\d+)\.norm_sublayer1": r"body.stack.residual.norms.\1*2+0",
    r"model\.encoder\.layers\.(\d+)\.norm_sublayer3": r"body.stack.residual.norms.\1*2+1",
    r"head\.projection": "head",
}
"""PatchTST's modules, and ours; ``*2+0`` is the first of a layer's two sublayers."""


def ours(key: str) -> str:
    """Return our name of one of PatchTST's parameters."""
    for theirs, mine in NAMES.items():
        key = re.sub(f"^{theirs}", mine, key)
    return re.sub(r"(\d+)\*2\+(\d)", lambda found: str(int(found[1]) * 2 + int(found[2])), key)


@pytest.mark.parametrize("stride", [3, 6])
def test_patchtst(stride: int) -> None:
    config = transformers.PatchTSTConfig(
        num_input_channels=3,
        context_length=30,
        prediction_length=5,
        patch_length=6,
        patch_stride=stride,
        d_model=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=20,
        norm_type="layernorm",
        pre_norm=False,
        positional_encoding_type="random",
        scaling=None,
        use_cls_token=False,
        pooling_type=None,
        loss="mse",
    )
    torch.manual_seed(0)
    peer = transformers.PatchTSTForPrediction(config).double().eval()
    model = create_model(
        "patchtst dim=16 channel=mlp(hidden_dim=20)",
        layers="[axial(inner=attention(num_heads=4, bias=true), axis=1)]*2",
        embed=f"series_patches(size=6, stride={stride})",
        num_features=3,
        num_outputs=15,
        pool="last",
        window={"steps": 30, "columns": 3, "targets": [0, 1, 2], "horizon": 5},
    )
    model = model.double().eval()
    model.load_state_dict({ours(key): value for key, value in peer.state_dict().items()})
    x = torch.randn(4, 30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = peer(past_values=x).prediction_outputs
    torch.testing.assert_close(model(x).view(4, 5, 3), expected, atol=1e-9, rtol=1e-9)
