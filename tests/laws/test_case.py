"""Cases of everything that can be checked, and the inputs that are drawn for them."""

from __future__ import annotations

import pytest
import torch

from anyformer.laws import all_targets, cases_of
from anyformer.laws.faults import Sound


def test_every_kind_of_target_has_cases(tmp_path) -> None:
    assert [case.label for case in cases_of("retention", options={"num_heads": 2})] == [
        "retention(num_heads=2)"
    ]
    assert len(cases_of("attention")) > 1, "one for each set of example options"
    assert [case.label for case in cases_of("model:mamba")] == ["model:mamba"]
    assert [case.label for case in cases_of("encoder_decoder")] == [
        "model:encoder_decoder decoder",
        "model:encoder_decoder encoder",
    ]
    assert cases_of(Sound)[0].label == "Sound" and cases_of(lambda: Sound(4))[0].mixer().dim == 4
    assert {"attention", "swiglu", "model:transformer"} <= set(all_targets())
    with pytest.raises(ValueError, match="unknown mixer 'retentoin'; did you mean 'retention'"):
        cases_of("retentoin")
    with pytest.raises(ValueError, match="target must be a name, a Mixer class or a function"):
        cases_of(int)  # type: ignore[arg-type]


def test_a_mixer_is_the_same_every_time_and_off_its_initial_values() -> None:
    case = cases_of(Sound)[0]
    one, other = case.mixer(), case.mixer()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert len(one.decay.unique()) > 1 and one.decay.dtype == torch.float64 and not one.training
    plain = case.mixer(None, train=True, randomize=False)
    assert len(plain.decay.unique()) == 1 and plain.decay.dtype == torch.float32 and plain.training


def test_an_option_that_does_not_exist_is_rejected() -> None:
    for target in ("retention", "model:retnet"):
        (case, *_) = cases_of(target)
        assert case.reject is not None
        with pytest.raises(ValueError, match="no_such_option"):
            case.reject()


def test_parts_of_inputs_belong_together() -> None:
    (case, *_) = cases_of("cross_attention")
    sample = case.sample(case.mixer(), 3, 5)
    assert sample.x.shape == (3, 5, 16) and sample.context is not None
    assert bool(sample.context.mask.any(1).all()), "no context is empty"
    assert sample.times(1, 4).x.shape == (3, 3, 16)
    chosen = sample.rows(torch.tensor([2, 0]))
    assert torch.equal(chosen.x, sample.x[[2, 0]]) and torch.equal(chosen.context.x, sample.context.x[[2, 0]])
    alone = sample.tokens(1, torch.tensor([True, False, True, False, False]))
    assert torch.equal(alone.x[0], sample.x[1, [0, 2]]) and len(alone.context.x) == 1
    assert sample.cast(torch.bfloat16).context.x.dtype == torch.bfloat16
