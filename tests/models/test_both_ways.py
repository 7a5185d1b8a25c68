"""Specs for inputs that are seen whole, or have no order."""

from __future__ import annotations

import pytest

from anyformer.models import create_model, list_models, load_spec
from anyformer.models.both_ways import both_ways, without_order


def test_mixers_that_can_see_both_ways_do() -> None:
    assert str(both_ways(load_spec("transformer"))) == "[attention*2] causal=false"
    assert str(both_ways(load_spec("hydra"))) == str(load_spec("hydra"))


def test_every_second_layer_that_runs_one_way_is_flipped() -> None:
    found = both_ways(load_spec("[mamba, attention, mamba, hgrn2]"))
    assert str(found) == (
        "[mamba(causal=true), attention, flip([mamba(causal=true)]), hgrn2(causal=true)] causal=false"
    )
    info = create_model(found, vocab_size=3, dim=16).body.info
    assert info.reach == (None, None)


def test_a_layer_that_the_spec_has_flipped_stays_flipped() -> None:
    for line in ("[mamba, flip([mamba])]", "[flip([mamba]), mamba]"):
        found = both_ways(load_spec(line))
        assert str(found) == line.replace("mamba", "mamba(causal=true)") + " causal=false"
    found = both_ways(load_spec("[flip([mamba]), mamba, mamba]"))
    assert str(found).startswith(
        "[flip([mamba(causal=true)]), mamba(causal=true), flip([mamba(causal=true)])]"
    )


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in list_models()
        if not (spec := load_spec(name)).encoder and spec.embed.name == "default"
    ],
)
def test_every_model_is_built(name: str) -> None:
    spec = load_spec(name, dim=16)
    assert create_model(both_ways(without_order(spec)), vocab_size=5)


def test_what_a_spec_says_stays() -> None:
    for line in ("transformer causal=true", "mamba causal=true positions=alibi", "[attention] causal=false"):
        spec = load_spec(line)
        assert both_ways(spec) == spec
        assert both_ways(load_spec(spec)) == spec  # a spec knows what it was told
    assert without_order(load_spec("transformer")).positions.name == "none"
    assert without_order(load_spec("transformer positions=alibi")).positions.name == "alibi"


def test_what_cannot_be_turned_stays_causal() -> None:
    found = both_ways(load_spec("ranker([neural_processor(context_len=64)], split=16)"))
    assert create_model(found, vocab_size=3, dim=16, channel=None, positions="none")
    whole = load_spec({"layers": "[attention(conv_width=3)]", "causal": True})
    assert both_ways(whole) == whole


def test_a_decoder_sees_all_its_inputs_if_it_can() -> None:
    for line, reach in (("encoder_decoder", (None, None)), ("[mamba] encoder=[attention]", (None, 0))):
        model = create_model(both_ways(load_spec(line, dim=16)), vocab_size=3, source={"vocab_size": 3})
        assert model.encoder is not None and model.encoder.info.reach == (None, None)
        assert model.body.info.reach == reach
