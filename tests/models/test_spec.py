"""Specs: one line, dict, YAML, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.models import ModelSpec, PartSpec, create_model, list_models, load_spec
from anyformer.models.spec import leaves_out


def test_one_line_says_a_hybrid() -> None:
    spec = load_spec(
        "[mamba*3, attention(window=256, positions=alibi)]*2 dim=256 channel=mlp(activation=relu2)"
    )
    assert [p.name for p in spec.layers] == ["mamba", "mamba", "mamba", "attention"] * 2
    assert spec.layers[3].options == {"window": 256, "positions": "alibi"}
    assert spec.channel == PartSpec(name="mlp", options={"activation": "relu2"})
    assert spec.dim == 256


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


def test_an_encoder_of_one_part() -> None:
    assert load_spec("[mamba] encoder=[attention]") == load_spec("[mamba] encoder=attention")
    assert [part.name for part in load_spec("[mamba] encoder=[attention]").encoder] == ["attention"]


def test_yaml_and_named_models_take_changes(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("model: retnet\ndepth: 3\ndim: 32\n", encoding="utf-8")
    spec = load_spec(file)
    assert len(spec.layers) == 3
    assert load_spec(str(file), dim=48).dim == 48
    assert load_spec("retnet depth=3 dim=32") == spec
    assert load_spec({"layers": "[retention]*2", "dim": 8}).layers[1].name == "retention"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("transfomer", "unknown model 'transfomer'; did you mean 'transformer'"),
        ("transformer dim=-3", "dim: Input should be greater than or equal to 1, got -3"),
        ("transformer depth=0", "depth must be an integer from 1 to 10,000, got 0"),
        ("transformer dpth=2", "model 'transformer' has no option 'dpth'; did you mean 'depth'"),
        ("[attention", "expected ']', got 'the end'"),
        ("[attention*0]", "expected a count of at least 1 behind '\\*', got '0'"),
        ("[attention] dim", "expected '=', got 'the end'"),
        ("[attention] dim=1 dim=2", "the field 'dim' stands twice"),
        ("[attention] dimm=1", "there is no field 'dimm'; did you mean 'dim'"),
        ("[]", "expected the name of a part, got ']'"),
        ("", "expected the name of a part, got 'the end'"),
        ("[atention]", "unknown part 'atention'; did you mean 'attention'"),
        ("[attention(windw=3)]", "has no option 'windw'; did you mean 'window'"),
        ("[attention([retention])]", "'attention' is not a wrapper, it cannot hold 'retention'"),
        ("[two_level]", "two_level wraps stacks of layers"),
        ("[two_level([attention])]", "wrapper 'two_level' cannot be built around 1 stacks"),
        ("[attention@a, attention@a(window=2)]", "stands in the spec with different options"),
        ("[attention] residual=sideways", "unknown residual 'sideways'"),
        ("[attention] norm=l2", "unknown norm 'l2'"),
        ("[attention(reuses_kv=x)]", "needs an earlier layer with provides_kv='x'"),
        ("no/such/file.yaml", "cannot be read"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(line: str, message: str) -> None:
    import torch

    with pytest.raises(ValueError, match=message):
        create_model(line, vocab_size=5)(torch.zeros(1, 2, dtype=torch.int64))


def test_a_mixer_alone_is_a_stack_of_two_unless_a_model_has_its_name(tmp_path: Path) -> None:
    assert [p.name for p in load_spec("retention dim=32").layers] == ["retention"] * 2
    assert load_spec("mamba dim=32") == load_spec({"model": "mamba", "dim": 32})
    assert [p.name for p in load_spec("retention*3").layers] == ["retention"] * 3
    assert [p.name for p in load_spec(f"{tmp_path}/mine.py:Mine").layers] == [f"{tmp_path}/mine.py:Mine"] * 2


words = st.sampled_from(
    ["[", "]", "(", ")", "*", "=", ",", "@", "attention", "dim", "3", "x", "-1", "'", '"', " "]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=12).map("".join))
def test_any_text_gives_a_spec_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(load_spec(text), ModelSpec)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "line, same",
    [
        ("mamba_nd(grid=2x3) dim=16", "mamba_nd grid=2x3 dim=16"),
        ("mamba_nd(grid=2x3, depth=2)", "mamba_nd depth=2 grid=2x3"),
        ("ifactformer(grid=4)", "ifactformer grid=4"),
        ("ifactformer(grid=4x2, depth=2)", "ifactformer grid=4x2 depth=2"),
        ("ifactformer", "ifactformer grid=8"),
    ],
)
def test_a_model_takes_its_options_in_brackets_too(line: str, same: str) -> None:
    assert load_spec(line) == load_spec(same)
    create_model(line, num_features=2, num_outputs=1)
    assert load_spec(str(load_spec(line))) == load_spec(line)


def test_a_model_in_brackets_is_called_one() -> None:
    with pytest.raises(ValueError, match="ifactformer is a whole model, which stands alone"):
        create_model("[ifactformer(grid=4)]", vocab_size=4)
    with pytest.raises(ValueError, match="it takes options only"):
        load_spec("mamba_nd([attention])")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[attention(num_heads=4, num_heads=2)]*1", "the option 'num_heads' stands twice"),
        ("[[lstm*5000]*2, lstm]*2", "at most 10,000 layers, got 2 times 10,001"),
        ("lstm*99999999999", "at most 10,000 layers, got 99,999,999,999 times 1"),
        ("transformer depth=99999999999", "depth must be an integer from 1 to 10,000"),
        ("lstmm", "unknown model 'lstmm'; did you mean 'lstm'"),
    ],
)
def test_what_stands_twice_or_is_too_large_is_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_spec(line)


def test_options_that_a_named_model_is_not_given() -> None:
    assert leaves_out("mamba_nd depth=2", "grid") and leaves_out({"model": "dinat"}, "grid")
    for source in (
        "mamba_nd grid=4",
        "mamba_nd(grid=4)",
        "mamba",
        "[mamba]",
        Path("a.yaml"),
        load_spec("mamba_nd"),
    ):
        assert not leaves_out(source, "grid")
