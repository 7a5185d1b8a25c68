"""Laws of building, sharing and saving embedders."""

from __future__ import annotations

import copy

import torch

from anyformer.laws.case import LawBroken
from anyformer.laws.embedders.cases import EmbedderCase
from anyformer.laws.measures import close, expect_error
from anyformer.laws.registry import register_embedder_law
from anyformer.schema import StreamFacts


@register_embedder_law("persistence")
@torch.no_grad()
def persistence(case: EmbedderCase) -> bool:
    """Saved weights in an embedder built anew from the stream's JSON, and a deep copy, give the same bit for bit."""
    embed, values = case.embedder(), case.values(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)  # parameters that are drawn but not saved would differ
        again = case.make(StreamFacts.model_validate_json(case.facts.model_dump_json()), case.dim).double()
    again.load_state_dict(embed.state_dict())
    x = embed.eval()(values)
    close("vectors of loaded weights", again.eval()(values), x, 0.0)
    close("vectors of a deep copy", copy.deepcopy(embed)(values), x, 0.0)
    return True


@register_embedder_law("sharing")
def sharing(case: EmbedderCase) -> bool:
    """An embedder that is given the modules of another's fields uses them."""
    first = case.make(case.facts, case.dim)
    if not first.modules_of_fields:
        return False
    second = case.make(case.facts, case.dim, first.modules_of_fields)
    for field, module in first.modules_of_fields.items():
        if second.modules_of_fields.get(field) is not module:
            raise LawBroken(f"the module of field {field.name!r} is another one")
    return True


@register_embedder_law("errors")
def errors(case: EmbedderCase) -> bool:
    """An unknown option raises a ``ValueError`` that names it."""
    if case.reject is None:
        return False
    expect_error("an unknown option", "no_such_option", case.reject)
    return True
