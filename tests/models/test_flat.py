"""The flat form of before: folders, files, lines and code with it are read as they were meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from anyformer.models import EncoderDecoder, ModelSpec, SequenceModel, create_model, list_models, load_spec
from anyformer.models.flat import PLACES, from_flat, to_flat

FOLDERS = json.loads(Path(__file__).with_name("flat.json").read_text(encoding="utf-8"))
"""Configurations of saved models of before, and the shapes of their stored tensors."""
LINES = {
    "tied": "[attention] dim=8 embed=default(scaled=true) head=linear(tied=true, bias=true)",
    "normed": "[lstm] dim=8 norm=layer_norm embed=default(normed=true) head=crf",
    "fields": "[attention] dim=8 embed=field_sum(rank=2, normed=true)",
    "encoder": "[attention] encoder=([attention], positions=learned(max_length=6), cross=cross_attention(num_heads=2)) "
    "dim=8 embed=default(normed=true)",
    "encoder_decoder": "[attention] encoder=[attention] dim=8 channel=mlp(activation=relu) residual=post "
    "norm=layer_norm positions=sinusoidal embed=default(scaled=true) head=linear(tied=true)",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_before_load_and_are_saved_in_the_form_of_now(name: str, tmp_path: Path) -> None:
    config, shapes = FOLDERS[name]["config"], FOLDERS[name]["shapes"]
    generator = torch.Generator().manual_seed(0)
    stored = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(stored, tmp_path / "model.safetensors")
    kind = EncoderDecoder if name == "encoder_decoder" else SequenceModel
    model = kind.from_pretrained(tmp_path)
    assert str(model.spec) == LINES[name]
    held = model.state_dict()
    assert all(torch.equal(held[key], tensor) for key, tensor in stored.items())
    assert model.num_parameters() == sum(tensor.numel() for tensor in stored.values())
    model.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text(encoding="utf-8"))
    since = {"window": None} if kind is SequenceModel else {}
    assert written == {**config, **since, "spec": model.spec.model_dump(mode="json")}
    assert kind.from_pretrained(tmp_path / "again").spec == model.spec


@pytest.mark.parametrize(
    ("flat", "now"),
    [
        ("[lstm] embed_norm=true scale_embeddings=yes", "[lstm] embed=default(normed=true, scaled=true)"),
        ("[lstm] embed=field_sum(rank=2) embed_norm=true", "[lstm] embed=field_sum(rank=2, normed=true)"),
        ("[lstm] tie_embeddings=true head_bias=false", "[lstm] head=linear(tied=true, bias=false)"),
        ("[lstm] head=crf tie_embeddings=false head_bias=none", "[lstm] head=crf"),
        ("avey tie_embeddings=false", "avey head=linear(tied=false)"),
        ("rwkv4 embed_norm=false", "rwkv4 embed=default(normed=false)"),
        ("encoder_decoder encoder_positions=rope", "encoder_decoder encoder=(positions=rope)"),
        ("[lstm] encoder=[hydra] cross=cross_attention", "[lstm] encoder=hydra"),
        ("led cross=cross_attention(num_heads=2)", "led encoder=(cross=cross_attention(num_heads=2))"),
    ],
)
def test_lines_of_before_read_as_those_of_now(flat: str, now: str) -> None:
    assert load_spec(flat) == load_spec(now)


def test_files_dicts_and_code_of_before(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(
        "layers: '[attention]'\nencoder: attention\nencoder_positions: learned\ntie_embeddings: true\n"
    )
    now = load_spec("[attention] encoder=(attention, positions=learned) head=linear(tied=true)")
    assert load_spec(file) == now
    assert load_spec(file, tie_embeddings=False).head == load_spec("[lstm]").head
    assert ModelSpec.model_validate(to_flat(now)) == now
    model = create_model("encoder_decoder", vocab_size=5, source={"vocab_size": 5}, tie_embeddings=False)
    assert model.head.weight is not model.embed.weight


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"embed": "default(normed=true)", "embed_norm": True},
            "the former name of 'normed' in 'embed'",
        ),
        ({"head": "linear(tied=true)", "tie_embeddings": False}, "given too: leave 'tie_embeddings' out"),
        (
            {"encoder": "(lstm, cross=lstm)", "cross": "lstm"},
            "'cross' is the former name of 'cross' in 'encoder'",
        ),
        ({"cross": "lstm"}, "expected the encoder's layers, such as"),
        ({"head_bias": "maybe"}, "bias must be true or false or none, got 'maybe'"),
    ],
)
def test_both_forms_of_one_thing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_spec({"layers": "[lstm]", **fields})
    with pytest.raises(ValueError, match=message):
        ModelSpec.model_validate({"layers": "[lstm]", **fields})


def test_without_an_encoder_its_fields_of_before_say_nothing() -> None:
    fields = {
        "layers": "[lstm]",
        "encoder": [],
        "cross": "cross_attention(num_heads=2)",
        "encoder_positions": None,
    }
    assert load_spec(fields) == load_spec("[lstm]")


FLAT = st.fixed_dictionaries(
    {"layers": st.just("[lstm]")},
    optional={
        "encoder": st.sampled_from(["[attention]", []]),
        "encoder_positions": st.sampled_from([None, "learned"]),
        "cross": st.sampled_from(["cross_attention", "cross_attention(num_heads=2)"]),
        "embed": st.sampled_from([None, "field_sum(rank=2)"]),
        "embed_norm": st.booleans(),
        "scale_embeddings": st.booleans(),
        "head": st.sampled_from(["linear", "crf", "low_rank(rank=3)"]),
        "tie_embeddings": st.booleans(),
        "head_bias": st.sampled_from([None, True, False]),
    },
)


@given(FLAT)
def test_the_flat_form_of_a_spec_says_the_spec(fields: dict[str, Any]) -> None:
    if fields.get("encoder", []) == [] and {"cross", "encoder_positions"} & fields.keys():
        fields = {**fields, "encoder": []}
    spec = load_spec(fields)
    flat = to_flat(spec)
    assert load_spec(flat) == spec == load_spec(str(spec)) == load_spec(spec.model_dump())
    assert all(value == flat.get(name) for name, value in fields.items() if name in PLACES and value is True)


@pytest.mark.parametrize("name", list_models())
def test_named_models_in_the_flat_form(name: str) -> None:
    spec = load_spec(name)
    assert (
        load_spec(to_flat(spec)) == spec and from_flat(to_flat(spec)).keys() <= ModelSpec.model_fields.keys()
    )
