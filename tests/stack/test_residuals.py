"""Residual carries: each keeps the laws around any sublayers; what the weighted ones reduce to."""

from __future__ import annotations

import pytest
import torch

from anyformer.laws import LAWS
from anyformer.laws.case import cases_of
from anyformer.laws.measures import close
from anyformer.models import create_model, load_spec
from anyformer.models.build import Backbone
from anyformer.stack import list_residuals


def body(spec: str) -> Backbone:
    torch.manual_seed(0)
    return Backbone(load_spec(spec, dim=16))


@pytest.mark.parametrize("name", list_residuals())
@pytest.mark.parametrize("law", ["streaming", "padding", "gradient", "modes"])
def test_laws(name: str, law: str) -> None:
    (case,) = cases_of(lambda: body(f"[attention, retention] residual={name}"))
    assert LAWS[law](case)


def test_path_weights_of_one_are_pre_norm_and_of_zero_prune() -> None:
    pre, ensemble = (body(f"[attention]*2 residual={name}").double() for name in ("pre", "path_ensemble"))
    ensemble.load_state_dict({**ensemble.state_dict(), **pre.state_dict()})
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    close("pre-norm", ensemble(x), pre(x))
    ensemble.stack.residual.path_weights.data.zero_()
    close("nothing left", ensemble(x), torch.zeros_like(x))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("[attention] pattern=channel", "pattern must be mixer once"),
        ("[attention] pattern=mixer+mixer", "pattern must be mixer once"),
        ("[attention] pattern=mixer/0+channel", "pattern must be mixer once"),
        ("[attention] pattern=mixer+ffn", "pattern must be mixer once"),
    ],
)
def test_a_wrong_pattern(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_spec(spec)


def test_patterns_are_kept_in_specs_of_one_line() -> None:
    spec = load_spec("[attention] pattern=channel/2+mixer+channel/2")
    assert load_spec(str(spec)) == spec
    stack = Backbone(spec).stack
    assert stack.steps == [0.5, 1.0, 0.5] and stack.mixers[0] is not stack.mixers[2]


def test_a_head_with_a_bias() -> None:
    assert create_model("[attention] dim=8", vocab_size=5).head.bias is None
    assert create_model("[attention] dim=8 head=linear(bias=true)", vocab_size=5).head.bias is not None
