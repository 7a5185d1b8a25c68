"""Sums of fields, fields as tokens and patches of grids, against their formulas; and in a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyformer.embed import create_embedder
from anyformer.models import EncoderDecoder, SequenceModel, create_model, load_spec
from anyformer.schema import Field, StreamFacts

FIELDS = [Field(name="b", width=2), Field(name="a.c", size=5), Field(name="a", width=1)]


def image(height: int, width: int, channels: int = 3) -> StreamFacts:
    return StreamFacts(shape="grid", size=(height, width), fields=[Field(name="pixels", width=channels)])


@pytest.mark.parametrize("shape", ["sequence", "set", "record"])
def test_formula(shape: str) -> None:
    facts = StreamFacts.model_validate({"shape": shape, "fields": FIELDS})
    embed = create_embedder("default", facts, 8).double()
    values = facts.example(3, 7)
    values = {name: v.double() if v.is_floating_point() else v for name, v in values.items()}
    numbers, table, one = embed.fields
    parts = [
        values["b"] @ numbers.weight.T + numbers.bias,
        table.weight[values["a.c"]],
        values["a"] @ one.weight.T + one.bias,
    ]
    expected = torch.stack(parts, 1) if shape == "record" else sum(parts)
    torch.testing.assert_close(embed(values), expected)


def test_fields_begin_with_the_same_weight() -> None:
    torch.manual_seed(0)
    embed = create_embedder("default", StreamFacts(shape="record", fields=[*FIELDS[1:]]), 512)
    x = embed({"a.c": torch.randint(5, (4096,)), "a": torch.randn(4096, 1)})
    category, number = x.square().mean((0, 2)).tolist()
    assert 0.5 < category / number < 2


@pytest.mark.parametrize("shape", ["sequence", "record"])
def test_models_of_fields_are_saved_with_their_order(shape: str, tmp_path: Path) -> None:
    facts = StreamFacts.model_validate({"shape": shape, "fields": FIELDS})
    model = create_model("mamba", stream=facts.model_dump(), num_outputs=3, pool="mean", dim=16).eval()
    values = model.example(2, 6)
    assert isinstance(values, dict) and model(values).shape == (2, 3)
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path, strict=True).eval()
    assert torch.equal(again(values), model(values))


def test_a_table_of_its_own_width() -> None:
    facts = StreamFacts(fields=[Field(name="many", size=500), Field(name="few", size=5)])
    embed = create_embedder("field_sum", facts, 32, rank=8)
    assert [tuple(p.shape) for p in embed.parameters()] == [(500, 8), (32, 8), (5, 32)]
    values = facts.example(64, 20)
    scale = embed.fields[0](values["many"]).std() / embed.fields[1](values["few"]).std()
    assert 0.7 < float(scale) < 1.4
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        create_embedder("field_sum", facts, 32, rank=0)


def test_one_way_in() -> None:
    with pytest.raises(ValueError, match="num_outputs must be given for a model of features or fields"):
        create_model("mamba", stream={"fields": FIELDS})
    with pytest.raises(ValueError, match="x must be a tensor, got dict"):
        create_model("mamba", vocab_size=3, dim=8)({"a": torch.zeros(1, 1)})
    model = create_model("mamba", stream={"fields": FIELDS}, num_outputs=1, dim=8)
    with pytest.raises(ValueError, match="x must be a dict of the fields 'b', 'a.c', 'a', got Tensor"):
        model(torch.zeros(1, 1))


class TestGrids:
    @pytest.mark.parametrize("size, padding", [(2, (0, 1)), (5, (0, 3)), (3, (2, 2))])
    def test_patches_are_a_convolution_with_a_stride(self, size: int, padding: tuple[int, int]) -> None:
        embed = create_embedder("patches", image(10, 7), 8, size=size).double()
        x = torch.randn(2, 10, 7, 3, dtype=torch.float64)
        kernel = embed.project.weight.reshape(8, size, size, 3).movedim(-1, 1)
        whole = torch.nn.functional.pad(x.movedim(-1, 1), (0, padding[1], 0, padding[0]))
        grid = torch.nn.functional.conv2d(whole, kernel, embed.project.bias, stride=size)
        assert embed.info.grid == grid.shape[2:]
        torch.testing.assert_close(embed({"pixels": x}), grid.flatten(2).mT)

    def test_what_convolutions_see_moves_with_its_place(self) -> None:
        embed = create_embedder("convolutions", image(32, 32), 8, size=4).double()
        x = torch.zeros(1, 32, 32, 3, dtype=torch.float64)
        x[:, 12:16, 12:20] = torch.randn(4, 8, 3, dtype=torch.float64)
        moved = embed({"pixels": x.roll(4, 1)}).unflatten(1, (8, 8))
        here = embed({"pixels": x}).unflatten(1, (8, 8))
        assert not torch.allclose(moved[:, 3], here[:, 3])
        torch.testing.assert_close(moved[:, 2:7], here[:, 1:6])  # away from the borders

    @pytest.mark.parametrize(
        "sides, patch, halved",
        [
            *[((8, 8), 2, 2), ((28, 28), 4, 4), ((32, 32), 4, 4), ((64, 64), 8, 8), ((48, 64), 8, 8)],
            *[((30, 30), 5, 4), ((31, 31), 4, 4), ((20, 20), 4, 4), ((1, 200), 4, 4), ((1, 1), 2, 2)],
        ],
    )
    def test_by_default_there_are_at_most_64_tokens(
        self, sides: tuple[int, int], patch: int, halved: int
    ) -> None:
        for name, side in {"patches": patch, "convolutions": halved}.items():
            embed = create_embedder(name, image(*sides, 1), 8)
            assert embed.size == side and embed.info.length is not None and embed.info.length <= 64
            assert embed(image(*sides, 1).example(1, 0)).shape == (1, embed.info.length, 8)

    def test_films_and_several_fields(self) -> None:
        fields = [Field(name="a", width=1), Field(name="b", width=2)]
        facts = StreamFacts(shape="grid", size=(4, 6, 5), fields=fields)
        embed = create_embedder("patches", facts, 8, size=2)
        assert embed.info.grid == (2, 3, 3) and embed(facts.example(2, 0)).shape == (2, 18, 8)
        with pytest.raises(ValueError, match=r"convolutions embeds grids of two axes, got \(4, 6, 5\)"):
            create_embedder("convolutions", facts, 8)

    @pytest.mark.parametrize(
        "line, message",
        [
            (
                "embed=patches(size=11)",
                "size of patches must be from 1 to 10, the longest side of the inputs, got 11",
            ),
            ("embed=patches(size=0)", "size of patches must be from 1 to 10"),
            ("embed=convolutions(size=6)", "size of convolutions must be a power of two from 2 on, got 6"),
            ("embed=patch", "unknown embedder 'patch'; did you mean 'patches'"),
            ("embed=patches(side=2)", "embedder 'patches' has no option 'side'"),
            ("embed=patches(name=a)", "embedder 'patches' has no option 'name'"),
            ("embed=patches(dim=2)", "embedder 'patches' has no option 'dim'"),
            (
                "embed=patches([attention])",
                "embed: expected patches with options only, got patches\\(\\[attention",
            ),
            ("embed=field_sum", "embed: field_sum embeds a sequence or a set or a record, and"),
        ],
    )
    def test_wrong_embedders(self, line: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            create_model(f"mamba {line}", stream=image(10, 7).model_dump(), num_outputs=2, pool="mean", dim=8)

    def test_tokens_and_encoders_have_none(self) -> None:
        with pytest.raises(ValueError, match="embed must be left out for tokens, got patches"):
            create_model("mamba embed=patches", vocab_size=3)
        with pytest.raises(ValueError, match="embed must be left out of an encoder-decoder's spec"):
            EncoderDecoder(load_spec("encoder_decoder embed=patches").model_dump(), vocab_size=3)

    def test_a_spec_says_the_embedder_and_a_folder_keeps_it(self, tmp_path: Path) -> None:
        model = create_model(
            "[attention] embed=patches(size=5) dim=8",
            stream=image(10, 7).model_dump(),
            num_outputs=2,
            pool="mean",
        ).eval()
        assert str(model.spec) == "[attention] dim=8 embed=patches(size=5)" and model.fixed_length == 4
        assert load_spec(str(model.spec)) == model.spec
        model.save_pretrained(tmp_path)
        again = SequenceModel.from_pretrained(tmp_path, strict=True).eval()
        values = model.example(2, 0)
        assert torch.equal(again(values), model(values)) and model.length(values) == 4
