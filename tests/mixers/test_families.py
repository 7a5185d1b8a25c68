from __future__ import annotations

import sys
from collections import Counter

import pytest

from anyformer.compare.plan.names import named_models
from anyformer.mixers import families, forms, mixers, preset
from anyformer.models import load_spec


def test_every_mixer_stands_in_one_family() -> None:
    counts = Counter(id for family in families().values() for id in family.mixers)
    own = [id for id in mixers.manifest if mixers.manifest[id].startswith("anyformer.")]
    assert counts == Counter(own)


def test_a_family_is_a_folder() -> None:
    assert (
        list(families())[:3] == ["softmax", "sparse", "low-rank"]
        and families()["ssm"].title == "State spaces"
    )
    for family in families().values():
        assert len({mixers.family(id) for id in family.mixers}) == 1
        package = sys.modules[mixers.manifest[family.mixers[0]].rpartition(".")[0]]
        assert family.mixers[0] == package.PLAINEST and list(family.mixers[1:]) == sorted(family.mixers[1:])


def test_presets_are_whole_families_in_one_form() -> None:
    linear = preset("linear")
    assert {"linear_attention", "retention", "delta_net"} <= set(linear) and "fastformer" not in linear
    assert "fastformer" in preset("linear-bidirectional")
    everything = preset("all-causal")
    assert len(everything) >= 30 and set(linear) < set(everything) and "cross_attention" not in everything
    for id, spec in everything.items():
        assert load_spec(spec).causal and True in forms(id)
    assert not any(load_spec(spec).causal for spec in preset("pooling-bidirectional").values())


def test_compare_takes_presets_among_other_candidates() -> None:
    named = named_models("transformer, preset:ssm")
    assert list(named) == ["transformer", *preset("ssm")]
    assert next(iter(named_models({"mine": "mamba", "others": "preset:ssm"}))) == "mine"
    with pytest.raises(ValueError, match="unknown preset 'liner'; did you mean 'linear'"):
        named_models("preset:liner")
    with pytest.raises(
        ValueError, match="preset 'low-rank' is empty: none of linformer, factorized_attention, nystromformer"
    ):
        named_models("preset:low-rank")
