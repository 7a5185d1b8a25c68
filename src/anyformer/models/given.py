"""A source and the inputs behind it, as a body reads them."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anyformer.contract import Call, Context
from anyformer.embed import Sites
from anyformer.heads import Head, Pool
from anyformer.schema import InputFacts, Stream

POOLS: tuple[Pool, ...] = (None, "mean", "last")
TOKENS = "tokens"
"""The side input that a model of tokens gives its mixers itself."""


class Given(NamedTuple):
    """Input of a body: x (B, S + T, D), its mask, the context, and the number S of elements before those of x."""

    x: Tensor
    mask: Tensor | None
    context: Context | None
    before: int = 0

    def own(self, h: Tensor) -> Tensor:
        """The elements (B, T, D) of the model's x."""
        return h[:, self.before :] if self.before else h


def check_source(source: Stream | None, x: Tensor, context: Context | None, *, wanted: bool) -> None:
    """Raise ``ValueError`` unless ``source`` is one for the embedded x (B, T, D), or None if none is wanted."""
    if (source is not None) != wanted:
        raise ValueError(
            "source must be given: the model continues one"
            if wanted
            else "source must be None for a model without one"
        )
    if source is None:
        return
    if not isinstance(source, Stream):
        raise ValueError(f"source must be an anyformer.schema.Stream, got {type(source).__name__}")
    if context is not None:
        raise ValueError("context must be None for a model with a source")
    first = source.inputs if isinstance(source.inputs, Tensor) else next(iter(source.inputs.values()))
    if first.shape[0] != x.shape[0]:
        raise ValueError(f"source must have as many samples as x, {x.shape[0]}, got {first.shape[0]}")


def joined_mask(before: Tensor | None, mask: Tensor | None, source: Tensor, x: Tensor) -> Tensor | None:
    """The mask (B, S + T) of a source (B, S, D) with x (B, T, D) behind it."""
    if before is None and mask is None:
        return None
    kind = (mask if before is None else before).dtype  # type: ignore[union-attr]
    if before is None:
        before = torch.ones(source.shape[:2], dtype=kind, device=x.device)
    if mask is None:
        mask = torch.ones(x.shape[:2], dtype=kind, device=x.device)
    for name, given, of in (("source.mask", before, source), ("mask", mask, x)):
        if given.shape != of.shape[:2] or given.dtype != kind:
            raise ValueError(
                f"{name} must have shape {tuple(of.shape[:2])} and the dtype of the other mask, {kind}, got "
                f"{tuple(given.shape)} {given.dtype}"
            )
    return torch.cat([before, mask], 1)


def pooled(h: Tensor, mask: Tensor | None, pool: str | None) -> Tensor:
    """Return h (B, T, D) itself, its mean over the real tokens, or the last of them (B, D)."""
    if pool is None:
        return h
    if h.shape[1] == 0:
        raise ValueError("x must have at least one token to pool over, got none")
    real = torch.ones(h.shape[:2], dtype=torch.bool, device=h.device) if mask is None else mask > 0
    if pool == "mean":
        return (h * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp_min(1)
    order = torch.arange(h.shape[1], device=h.device)
    last = torch.where(real, order, 0).argmax(1)
    return h[torch.arange(h.shape[0], device=h.device), last]


def with_tokens(call: Call | None, x: Any, source: Stream | None) -> Call:
    """Return the call with the tokens (B, S + T) of a source, if there is one, and of x (B, T) as a side input."""
    call, before = call or Call(), x[:, :0] if source is None else source.inputs
    assert isinstance(before, Tensor)
    return replace(call, side={**call.side, TOKENS: torch.cat([before, x], 1)})


def at_sites(sites: Sites, embed: str, dim: int, outputs: int, *, whole: bool) -> tuple[int, int]:
    """Return what a head reads, and how many outputs it gives, at each site at which an embedder reads answers.

    Args:
        sites: the sites of the embedder called ``embed``.
        dim: width of the hidden states.
        outputs: of the model, at all sites.
        whole: one answer is asked, of inputs without a source.
    """
    if not whole:
        raise ValueError(f"embed: {embed} is for forecasts that are read from their window at once")
    if outputs % sites.places:
        raise ValueError(f"num_outputs must be as many for each of {sites.places} targets, got {outputs}")
    return sites.tokens * dim, outputs // sites.places


def check_head(name: str, head: Head, inputs: InputFacts) -> None:
    """Raise ``ValueError`` if a head of that name reads tokens, and the inputs are none and no category is asked."""
    asked = inputs.stream is not None and inputs.stream.asked is not None
    if head.context and inputs.vocab_size is None and not asked:
        raise ValueError(f"head: {name} reads tokens, and the inputs of this model are none")


def table_of(embed: nn.Module, outputs: int, vocab_size: int | None) -> nn.Embedding:
    """Return the embedding whose table a tied head takes; ``ValueError`` unless it has as many rows as outputs."""
    if not isinstance(embed, nn.Embedding) or outputs != vocab_size:
        raise ValueError(
            f"head: tied needs as many outputs as tokens, got {outputs} and {vocab_size or 'no tokens'}"
        )
    return embed


def check_inputs(
    vocab_size: int | None, num_features: int | None, stream: Any, num_outputs: int | None, pool: str | None
) -> None:
    """Raise ``ValueError`` unless they are the inputs and outputs of a model."""
    if sum(given is not None for given in (vocab_size, num_features, stream)) != 1:
        raise ValueError(
            f"exactly one of vocab_size, num_features and stream must be given, got {vocab_size}, {num_features} "
            f"and {stream}"
        )
    _check_sizes(vocab_size=vocab_size, num_features=num_features, num_outputs=num_outputs)
    if num_outputs is None and vocab_size is None:
        raise ValueError("num_outputs must be given for a model of features or fields")
    if pool not in POOLS:
        raise ValueError(f"pool must be None, 'mean' or 'last', got {pool!r}")


def _check_sizes(**sizes: int | None) -> None:
    """Raise ``ValueError`` for a size that is given and is no whole number of at least 1."""
    for name, size in sizes.items():
        if size is not None and (isinstance(size, bool) or not isinstance(size, Integral) or size < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")
