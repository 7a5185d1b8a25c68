"""What cannot be given RMS norms is named."""

from __future__ import annotations

import pytest

from anyformer.convert import pre_rms_norm
from anyformer.models import create_model


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("[attention]", "model must have norm=layer_norm, got 'rms_norm'"),
        ("[attention] norm=layer_norm residual=post", "residual=pre or ladder, got 'post'"),
        (
            "[attention] norm=layer_norm embed=default(normed=true)",
            "model must have no norm on its embedded input, got embed=default",
        ),
        ("[attention] norm=layer_norm positions=sinusoidal", "moved to mean zero, got 'sinusoidal'"),
        (
            "[retention] norm=layer_norm",
            "model must be of Attention, SimplifiedAttention, MLP, GLU, got retention",
        ),
        ("[attention] norm=layer_norm channel=mlp(groups=2)", "got mlp"),
    ],
)
def test_errors(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pre_rms_norm(create_model(spec, vocab_size=7, dim=16))
