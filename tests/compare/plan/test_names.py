"""Candidates as the user gives them, and their names."""

from __future__ import annotations

import pytest

from anyformer.compare import compare, split_models
from anyformer.compare.plan.names import named_models

MIXER = '''
import torch
from anyformer import Mixer, MixerInfo

class Shift(Mixer):
    """Adds the token before."""

    class Options(Mixer.Options):
        def info(self):
            return MixerInfo(reach=(1, 0), state="constant")

    def __init__(self, dim, **options):
        super().__init__(dim, **options)
        self.scale = torch.nn.Parameter(torch.ones(dim))

    def _forward(self, x, inputs):
        return x + self.scale * torch.nn.functional.pad(x, (0, 0, 1, -1))
'''


@pytest.mark.parametrize(
    "models, message",
    [
        ("transfomer", "did you mean 'transformer'"),
        ("[attention*3", "expected ']'"),
        ("transformer,,mamba", "names or specs between commas"),
        ("transformer depth=0", "depth must be"),
        ([], "at least one candidate"),
        ("no/such/file.yaml", "cannot be read"),
    ],
)
def test_wrong_models(models, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        compare("recall", models, out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists(), "a refused comparison leaves nothing behind"


def test_models_between_commas():
    assert split_models("mamba, [attention, mamba(a=1)]*2 dim=64,retnet") == [
        "mamba",
        "[attention, mamba(a=1)]*2 dim=64",
        "retnet",
    ]


def test_names(tmp_path):
    (tmp_path / "mine.py").write_text(MIXER)
    (tmp_path / "hybrid.yaml").write_text("layers: '[retention, attention]'\ndim: 32\n")
    named = named_models(
        [
            "transformer",
            "transformer",
            "attention",
            f"{tmp_path}/mine.py:Shift",
            str(tmp_path / "hybrid.yaml"),
        ]
    )
    assert list(named) == ["transformer", "transformer (2)", "attention", "Shift", "hybrid"]
    assert list(named_models({"a": "retnet", "b": {"layers": "[attention]", "dim": 32}})) == ["a", "b"]
