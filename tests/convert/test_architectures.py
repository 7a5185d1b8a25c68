"""Tables of parameter names, and the reading of configs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.convert.architectures import Source, need, only, rope_options, scaled

CONFIG = {"model_type": "llama", "hidden_act": "silu", "width": 9, "nothing": None}


def test_a_sources_names_are_relative_unless_they_begin_with_a_slash() -> None:
    source = Source(("a", "/b")).under("layers.3.").leaf("weight")
    assert source.keys == ("layers.3.a.weight", "b.weight")
    assert Source("a").under("x.").key == "x.a" and Source("a").keys == ("a",)


def test_a_scale_becomes_a_part_of_the_change() -> None:
    source = Source("a", torch.neg, lambda config, layer: config["width"] ** 0.5 / (layer + 1))
    found = scaled(source, CONFIG, 1)
    assert found.scale is None and found.change(torch.tensor([2.0])).tolist() == [-3.0]
    assert scaled(Source("a", torch.neg, lambda config, layer: 1.0), CONFIG, 0).change is torch.neg
    assert scaled("a", CONFIG, 0) == Source("a")


def test_fields_of_a_config_are_there_and_accepted() -> None:
    assert need(CONFIG, "width") == 9
    for name in ("nothing", "missing"):
        with pytest.raises(ValueError, match=f"config.json of a 'llama' model must have '{name}'"):
            need(CONFIG, name)
    only(CONFIG, "hidden_act", "gelu", "silu")
    only(CONFIG, "missing", False)
    with pytest.raises(
        ValueError, match="hidden_act of a 'llama' checkpoint must be 'relu' or 'gelu', got 'silu'"
    ):
        only(CONFIG, "hidden_act", "relu", "gelu")


@pytest.mark.parametrize(
    "config, options",
    [
        ({}, {"base": 10000.0}),
        ({"rope_theta": 5e5, "rope_scaling": None}, {"base": 5e5}),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, {"base": 10000.0, "stretch": 2.0}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 7}}, {"base": 7.0}),
        (
            {
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8,
                    "low_freq_factor": 1,
                    "high_freq_factor": 4,
                    "original_max_position_embeddings": 8192,
                }
            },
            {"base": 10000.0, "stretch": 8.0, "trained_length": 8192, "low": 1.0, "high": 4.0},
        ),
    ],
)
def test_rotary_positions_of_older_and_newer_configs(config: dict[str, Any], options: dict[str, Any]) -> None:
    assert rope_options(config) == {"name": "rope", "options": options}


@pytest.mark.parametrize(
    "config, message",
    [
        ({"rope_scaling": {"type": "yarn", "factor": 2}}, "rope_type must be .*, got 'yarn'"),
        ({"rope_scaling": {"type": "linear"}}, "must have 'factor'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1, got 0.5"),
    ],
)
def test_other_rotary_positions_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rope_options(config)
