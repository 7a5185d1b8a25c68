"""Specs from names, files and dicts, and changes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyformer.models import create_model, load_spec
from anyformer.models.load import leaves_out


def test_yaml_and_named_models_take_changes(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("model: retnet\ndepth: 3\ndim: 32\n", encoding="utf-8")
    spec = load_spec(file)
    assert len(spec.layers) == 3
    assert load_spec(str(file), dim=48).dim == 48
    assert load_spec("retnet depth=3 dim=32") == spec
    assert load_spec({"layers": "[retention]*2", "dim": 8}).layers[1].name == "retention"


def test_a_mixer_alone_is_a_stack_of_two_unless_a_model_has_its_name(tmp_path: Path) -> None:
    assert [p.name for p in load_spec("retention dim=32").layers] == ["retention"] * 2
    assert load_spec("mamba dim=32") == load_spec({"model": "mamba", "dim": 32})
    assert [p.name for p in load_spec("retention*3").layers] == ["retention"] * 3
    assert [p.name for p in load_spec(f"{tmp_path}/mine.py:Mine").layers] == [f"{tmp_path}/mine.py:Mine"] * 2


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


def test_changes_of_encoder_embedder_and_head_keep_what_they_do_not_say() -> None:
    def line(source: str, **changes: object) -> str:
        return str(load_spec(source, **changes))

    assert line("rwkv4 depth=1 embed=patches(size=4)").endswith("embed=patches(normed=true, size=4)")
    assert line("rwkv4 depth=1 embed=default(normed=false)") == line(
        "[rwkv4] channel=rwkv4_channel norm=layer_norm"
    )
    assert "head=crf(tied=true)" in line("avey head=crf")
    assert load_spec("avey", head="linear(tied=false)").head == load_spec("[lstm]").head
    encoder = load_spec("led depth=1 encoder=(positions=learned)", encoder="(cross=cross_attention)").encoder
    assert str(encoder) == "([longformer(window=16)], positions=learned)"
    assert line("led depth=1 encoder=[attention]").startswith("[attention] encoder=[attention] ")
    assert load_spec("led encoder=none").encoder is None
    chosen = load_spec(load_spec("[lstm] embed=field_sum(rank=2, scaled=true)"), embed="field_sum")
    assert str(chosen.embed) == "field_sum(scaled=true)"
