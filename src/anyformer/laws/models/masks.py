"""Laws of visibility in whole models: the tokens on which an output may depend, and those on which it must."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Call
from anyformer.embed import Embedder
from anyformer.laws.case import LawBroken
from anyformer.laws.measures import LENGTH, close
from anyformer.laws.models.cases import ModelCase, TokenInputs
from anyformer.laws.registry import register_model_law
from anyformer.models import SequenceModel
from anyformer.models.build import Backbone


@register_model_law("padding")
@torch.no_grad()
def padding(case: ModelCase) -> bool:
    """Padding on either side of any sequence, or between its tokens, changes no output of a real token, and no pooled
    output; packed sequences do not see each other."""
    model = case.model()
    if model.sites is not None:  # it takes no mask
        return False
    tokens = case.tokens(model, 3, LENGTH)
    for where in ("right", "left", *(() if model.body.info.grid else ("scattered",))):
        masks = {name: _ragged(x, where, turn) for turn, (name, x) in enumerate(tokens.x.items())}
        for some in ([name] for name in masks) if len(masks) > 1 else ():
            _padded(
                model,
                tokens.masked(**{name: masks[name] for name in some}),
                f"{where} padding of the {some[0]}",
            )
        _padded(model, tokens.masked(**masks), f"{where} padding")
    if model.pool is None:
        _packed(model, tokens)
    return True


def _ragged(x: Tensor, where: str, turn: int) -> Tensor:
    """Return a mask (B, T) with all, half or one of the tokens real, for different samples in each sequence."""
    T = x.shape[1]
    lengths = torch.tensor([T, T // 2, 1]).roll(turn)[:, None].to(x.device)
    order = torch.arange(T, device=x.device)
    if where == "scattered":
        return torch.randperm(T, generator=torch.Generator().manual_seed(4)).to(x.device) < lengths
    return order < lengths if where == "right" else order >= T - lengths


def _padded(model: SequenceModel, tokens: TokenInputs, what: str) -> None:
    y = tokens(model)
    last = list(tokens.x)[-1]
    for b in range(len(y)):
        mine = y[b] if y.dim() == 2 or last not in tokens.masks else y[b][tokens.masks[last][b]]
        close(f"{what} against sample {b} alone", mine, tokens.alone(b)(model)[0])


def _packed(model: SequenceModel, tokens: TokenInputs) -> None:
    """Two in each row, of unequal lengths; the second x continues the second source."""
    ids = {name: (torch.arange(x.shape[1], device=x.device) > 6).long() + 1 for name, x in tokens.x.items()}
    packed = tokens.masked(**{name: ids[name].expand_as(x) for name, x in tokens.x.items()})
    y, last = packed(model), ids[list(ids)[-1]]
    for n in (1, 2):
        alone = tokens.masked(**{name: (ids[name] == n).expand_as(x) for name, x in tokens.x.items()}).alone(
            0
        )
        close("packed against alone", y[0, last == n], alone(model)[0])


@register_model_law("reach")
@torch.no_grad()
def reach(case: ModelCase) -> bool:
    """Outputs of a causal model depend on no later token; those of an encoder-decoder on every token of the source,
    and those of a stack on its end."""
    model = case.model()
    tokens = case.tokens(model, 2, LENGTH)
    if model.encoder is not None:
        _sees_its_source(model, model.encoder, tokens)
    elif model.source is not None and model.body.info.reach[0] != 0:
        _sees_the_end(model, tokens)
    elif model.pool is not None:
        return False
    return _hides_what_is_later(model, tokens) or model.source is not None


def _hides_what_is_later(model: SequenceModel, tokens: TokenInputs) -> bool:
    if not model.body.info.causal or model.pool is not None:
        return False
    y, T = tokens(model), tokens.x["x"].shape[1]
    for t in (0, T // 3, T - 2):
        other = tokens.changed("x", slice(t + 1, T))(model)
        close(f"outputs up to {t} of the x after a change of later tokens", other[:, : t + 1], y[:, : t + 1])
    return True


def _sees_the_end(model: SequenceModel, tokens: TokenInputs) -> None:
    S = tokens.x["source"].shape[1]
    other = tokens.changed("source", slice(S - 3, S))(model)
    if not bool((other != tokens(model)).any()):
        raise LawBroken("a change of the end of the source changes no output")


def _sees_its_source(model: SequenceModel, encoder: Backbone, tokens: TokenInputs) -> None:
    """Check that encoded tokens depend on later ones, and every output on the first and the last source token."""
    if encoder.info.causal:
        raise LawBroken(
            f"the encoder is causal (reach {encoder.info.reach}): it must read the source both ways"
        )
    y, source, S = tokens(model), tokens.source, tokens.x["source"].shape[1]
    assert source is not None
    first = model.encode(source).x[:, 0]
    for position in (0, S - 1):
        other = tokens.changed("source", slice(position, position + 1))
        if not bool((other(model) != y).any(-1).all()):
            raise LawBroken(f"a change of token {position} of the source does not change every output")
    later = tokens.changed("source", slice(1, S)).source
    assert later is not None
    if not bool((model.encode(later).x[:, 0] != first).any(-1).all()):
        raise LawBroken("a change of later tokens of the source does not change how its first one is encoded")


@register_model_law("pooling")
@torch.no_grad()
def pooling(case: ModelCase) -> bool:
    """The output of a model that pools is its head applied to the mean, or to the last, of its body's outputs for x."""
    model = case.model()
    if model.pool is None or model.encoder is not None or model.read_whole is not None:
        return False
    tokens = case.tokens(model, 2, LENGTH)
    named = isinstance(model.embed, Embedder)
    x = torch.cat([model.embed(model.inputs.values(x) if named else x) for x in tokens.x.values()], 1)
    x = model.embed_norm(x * model.spec.dim**0.5 if model.spec.embed.options.get("scaled") else x)
    given = {name: torch.cat(list(tokens.x.values()), 1) for name in model.given_side}
    h = model.body(x, call=Call(side={**tokens.side, **given}))[:, -tokens.x["x"].shape[1] :]
    close("pooled", tokens(model), model.head(h.mean(1) if model.pool == "mean" else h[:, -1]))
    return True
