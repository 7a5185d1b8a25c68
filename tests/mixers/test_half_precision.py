"""In float16 nothing overflows on the way to what float32 says fits."""

from __future__ import annotations

import copy
from typing import get_args, get_type_hints

import pytest
import torch

from anyformer.channels import channels
from anyformer.laws import LawBroken, cases_of
from anyformer.laws.numerics import fits_in_float16
from anyformer.layers.activations import list_activations
from anyformer.layers.norms import list_norms
from anyformer.mixers import mixers
from anyformer.mixers.linear.linear_attention import FEATURE_MAPS
from anyformer.mixers.sparse.diag_attention import WEIGHTS
from anyformer.ops.attention.tiles import NORMALIZERS
from anyformer.parts import create_part

NORMED = ["delta_net", "hgrn2", "hydra", "mamba2", "retention", "rwkv7", "transmamba"]


@pytest.mark.parametrize("name", NORMED)
@pytest.mark.parametrize("size", [10, 30, 100, 300])
def test_what_fits_at_the_end_fits_on_the_way(name: str, size: int) -> None:
    for case in cases_of(name):
        half = case.mixer(torch.float16)
        whole = copy.deepcopy(half).float()
        sample = case.sample(half, 2, 40, dtype=torch.float16)
        x = sample.x * size
        with torch.no_grad():
            y, expected = sample.with_x(x).forward(half), sample.with_x(x.float()).forward(whole)
        if float(expected.abs().max()) > 3e4:
            continue
        assert bool(y.isfinite().all()), case.label
        error = float((y.float() - expected).square().mean().sqrt() / expected.square().mean().sqrt())
        assert error < 0.2, case.label


OTHERS = (False, True, *list_norms(), *NORMALIZERS, *WEIGHTS, *list_activations(), *FEATURE_MAPS, "rope")
"""Values of options that are enumerated by name."""


def variants(case_of: str) -> dict[str, dict[str, object]]:
    """The first example of a part with one option changed to another value of its kind that it takes."""
    registry = channels if case_of in channels else mixers
    entry = registry.get(case_of)
    found = {}
    hints = get_type_hints(entry.target.Options)
    for option in set(entry.target.Options.names()) - {"provides_kv", "reuses_kv"}:
        kinds = get_args(hints.get(option)) or (hints.get(option),)
        for value in OTHERS:
            given = {**entry.examples[0], option: value}
            if type(value) in kinds and given != entry.examples[0]:
                try:
                    create_part(registry, case_of, 16, given)
                except ValueError:
                    continue
                found[f"{option}={value}"] = given
    return found


@pytest.mark.parametrize("name", [*mixers.ids(), *channels.ids()])
def test_so_it_is_under_other_options(name: str) -> None:
    for label, options in variants(name).items():
        for case in cases_of(name, options=options):
            try:
                fits_in_float16(case)
            except LawBroken as error:
                raise AssertionError(f"{name}({label}): {error}") from error
