"""The line: what it says, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.models import ModelSpec, PartSpec, list_models, load_spec


def test_one_line_says_a_hybrid() -> None:
    spec = load_spec(
        "[mamba*3, attention(window=256, positions=alibi)]*2 dim=256 channel=mlp(activation=relu2)"
    )
    assert [p.name for p in spec.layers] == ["mamba", "mamba", "mamba", "attention"] * 2
    assert spec.layers[3].options == {"window": 256, "positions": "alibi"}
    assert spec.channel == PartSpec(name="mlp", options={"activation": "relu2"})
    assert spec.dim == 256


def test_an_encoder_with_fields_stands_in_brackets() -> None:
    line = "[mamba] encoder=([attention*2], positions=learned(max_length=9), cross=cross_attention(num_heads=2)) dim=8"
    spec = load_spec(line)
    assert spec.encoder is not None and len(spec.encoder.layers) == 2
    assert spec.encoder.positions == PartSpec(name="learned", options={"max_length": 9})
    assert str(spec) == line


def test_wrappers_tags_and_nested_parts() -> None:
    spec = load_spec(
        "[two_level([attention]*2, [retention], patch=4), attention@a*2, attention(channel=moe(top_k=1))]"
    )
    assert [[p.name for p in stack] for stack in spec.layers[0].inner] == [["attention"] * 2, ["retention"]]
    assert spec.layers[1].tag == "a"
    assert spec.layers[3].options["channel"]["options"] == {"top_k": 1}


@pytest.mark.parametrize("name", list_models())
def test_a_spec_written_as_a_line_reads_as_itself(name: str) -> None:
    spec = load_spec(name)
    assert load_spec(str(spec)) == spec
    assert load_spec(spec.model_dump()) == spec


words = st.sampled_from(
    [
        "[",
        "]",
        "(",
        ")",
        "*",
        "=",
        ",",
        "@",
        "attention",
        "dim",
        "encoder",
        "head",
        "3",
        "x",
        "-1",
        "'",
        '"',
        " ",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=12).map("".join))
def test_any_text_gives_a_spec_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(load_spec(text), ModelSpec)
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[attention(num_heads=4, num_heads=2)]*1", "the option 'num_heads' stands twice"),
        ("[lstm] encoder=([attention], [attention])", "expected one stack of layers in brackets"),
        ("[lstm] encoder=([attention], layers=attention)", "expected one stack of layers in brackets"),
        ("[lstm] head=(tied=true)", "expected a value, got \\("),
        ("[[lstm*5000]*2, lstm]*2", "at most 10,000 layers, got 2 times 10,001"),
        ("lstm*99999999999", "at most 10,000 layers, got 99,999,999,999 times 1"),
        ("transformer depth=99999999999", "depth must be an integer from 1 to 10,000"),
        ("lstmm", "unknown model 'lstmm'; did you mean 'lstm'"),
    ],
)
def test_what_stands_twice_or_is_too_large_is_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_spec(line)
