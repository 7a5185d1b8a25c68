"""Laws on which elements and fields a vector depends on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anyformer.laws.case import LawBroken
from anyformer.laws.embedders.cases import ELEMENTS, EmbedderCase
from anyformer.laws.measures import close
from anyformer.laws.registry import register_embedder_law


@register_embedder_law("tokens")
@torch.no_grad()
def tokens(case: EmbedderCase) -> bool:
    """There are as many vectors as ``length`` and ``info`` say, as wide as the model, and they fill ``info.grid``."""
    embed, values = case.embedder(), case.values(3)
    T = embed.length(values)
    x = embed(values)
    if x.shape != (3, T, case.dim):
        raise LawBroken(f"vectors have shape {tuple(x.shape)}, and length says {(3, T, case.dim)}")
    declared = embed.info
    if declared.length not in (None, T):
        raise LawBroken(f"length is {T}, and info.length {declared.length}")
    if declared.grid is not None and math.prod(declared.grid) != T:
        raise LawBroken(f"length is {T}, and info.grid has {math.prod(declared.grid)} places")
    return True


@register_embedder_law("independence")
@torch.no_grad()
def independence(case: EmbedderCase) -> bool:
    """A sample's vectors do not depend on its batch, and repeat bit for bit."""
    embed, values = case.embedder().eval(), case.values(3)
    x = embed(values)
    close("a second call", embed(values), x, 0.0)
    for b in range(3):
        alone = embed({name: value[b : b + 1] for name, value in values.items()})
        close("a sample alone against it in a batch", alone, x[b : b + 1])
    return True


@register_embedder_law("pieces")
@torch.no_grad()
def pieces(case: EmbedderCase) -> bool:
    """Elements of a sequence or set are embedded one by one: pieces give what the whole gives, so that models stream
    and padding changes nothing."""
    if not case.ordered:
        return False
    embed, values = case.embedder().eval(), case.values(2)
    x = embed(values)
    for start, stop in ((0, 3), (3, 4), (4, ELEMENTS), (2, 2)):
        part = embed({name: value[:, start:stop] for name, value in values.items()})
        close(f"elements {start} to {stop} against the whole", part, x[:, start:stop])
    return True


@register_embedder_law("permutation")
@torch.no_grad()
def permutation(case: EmbedderCase) -> bool:
    """Elements of a set in another order give the same vectors in that order."""
    if case.facts.shape != "set":
        return False
    embed, values = case.embedder().eval(), case.values(2)
    order = torch.randperm(ELEMENTS, generator=torch.Generator().manual_seed(2))
    moved = embed({name: value[:, order] for name, value in values.items()})
    close("a set in another order", moved, embed(values)[:, order])
    return True


@register_embedder_law("sites")
@torch.no_grad()
def sites(case: EmbedderCase) -> bool:
    """Answers that are read at sites are read from as many tokens as ``info`` says, of their own sample, and as many as
    the head gives."""
    embed, values = case.embedder().eval(), case.values(3)
    declared = embed.info.sites
    if declared is None:
        return False
    x = embed(values)
    read = embed.read(x)
    if read.shape != (3, declared.places, declared.tokens * case.dim):
        raise LawBroken(f"what is read has shape {tuple(read.shape)}, and info.sites says {tuple(declared)}")
    if not bool(torch.isin(read, x).all()):
        raise LawBroken("what is read is not the hidden states")
    outputs = torch.randn(3, declared.places, 8 * ELEMENTS, dtype=x.dtype)
    answers = embed.answer(outputs, values)
    if answers.shape != (3, declared.places * 8 * ELEMENTS):
        raise LawBroken(f"answers have shape {tuple(answers.shape)} for outputs {tuple(outputs.shape)}")
    for b in range(3):
        alone = embed.answer(outputs[b : b + 1], {name: value[b : b + 1] for name, value in values.items()})
        close("the answer of a sample alone against it in a batch", alone, answers[b : b + 1])
    return True


@register_embedder_law("fields")
@torch.no_grad()
def fields(case: EmbedderCase) -> bool:
    """Every number and category counts: another value changes the vectors of its sample."""
    embed, values = case.embedder().eval(), case.values(2)
    x = embed(values)
    for field in case.facts.fields:
        value = values[field.name]
        if field.size is not None:
            _counts(f"category {field.name!r}", embed({**values, field.name: (value + 1) % field.size}), x)
            continue
        for place in range(field.width or 0):
            other = value.clone()
            other[..., place] += torch.linspace(1, 2, other[..., place].numel()).view_as(other[..., place])
            _counts(f"number {place} of field {field.name!r}", embed({**values, field.name: other}), x)
    return True


def _counts(what: str, other: Tensor, x: Tensor) -> None:
    if not bool((other != x).flatten(1).any(1).all()):
        raise LawBroken(f"{what} changes no vector of a sample")
