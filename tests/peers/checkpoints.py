"""How a model of transformers is compared with what ``from_hf`` makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from anyformer.convert import from_hf, key_map
from anyformer.generate import generate
from anyformer.models import SequenceModel

VOCAB = 61
PIECES = (3, 1, 0, 7, 2, 6)


def randomised(peer: Any) -> Any:
    """The peer in evaluation, no parameter left at zero or one, so that none can be forgotten or mixed up."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in peer.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((0.1 * noise).to(parameter.dtype))
    return peer.eval()


def tokens(batch: int = 2, length: int = sum(PIECES)) -> Tensor:
    return torch.randint(0, VOCAB, (batch, length), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def logits_of(peer: Any, x: Tensor, **inputs: Any) -> Tensor:
    logits: Tensor = peer(x, use_cache=False, **inputs).logits
    return logits


@torch.no_grad()
def streamed(model: SequenceModel, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The logits of x, given in uneven pieces."""
    state, parts = model.init_state(len(x)), []
    start = 0
    for size in PIECES:
        part = slice(start, start + size)
        y, state = model.stream(x[:, part], state, None if mask is None else mask[:, part])
        parts.append(y)
        start += size
    assert start == x.shape[1]
    return torch.cat(parts, 1)


def check_equal(peer: Any, folder: Path, tolerance: float = 1e-5) -> SequenceModel:
    """Saved, read and run, whole and in pieces, our model gives the peer's logits; it is returned."""
    peer.save_pretrained(folder)
    model = from_hf(folder)
    x = tokens()
    expected = logits_of(peer, x)
    assert expected.std() > 0.1
    with torch.no_grad():
        assert_close(model(x), expected, atol=tolerance, rtol=0)
    assert_close(streamed(model, x), expected, atol=tolerance, rtol=0)
    check_all_read(peer)
    return model


def check_all_read(peer: Any) -> None:
    """Every parameter of the peer is one that ours are read from."""
    base = f"{peer.base_model_prefix}."
    used = {source.key for source in key_map(peer.config.to_dict()).values()}
    assert used == {name.removeprefix(base) for name, _ in peer.named_parameters()}


def check_padded(peer: Any, model: SequenceModel, side: str, *, positions: bool = False) -> None:
    """The same at the real tokens of a padded batch; ``positions``: the peer must be told them."""
    x = tokens(3)
    T = x.shape[1]
    lengths = torch.tensor([[T], [11], [2]])
    order = torch.arange(T)
    mask = order < lengths if side == "right" else order >= T - lengths
    inputs = {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)} if positions else {}
    expected = logits_of(peer, x, attention_mask=mask.long(), **inputs)
    with torch.no_grad():
        got = model(x, mask)
    assert_close(got[mask], expected[mask], atol=1e-5, rtol=0)
    assert_close(streamed(model, x, mask)[mask], expected[mask], atol=1e-5, rtol=0)


def check_generates(peer: Any, model: SequenceModel, folder: Path) -> None:
    """Written by us, read again and decoded greedily, it continues as the peer does."""
    model.save_pretrained(folder)
    again = SequenceModel.from_pretrained(folder)
    x = prompt = tokens(2, 5)
    for _ in range(12):
        x = torch.cat([x, logits_of(peer, x)[:, -1:].argmax(-1)], 1)
    expected = x[:, prompt.shape[1] :]
    assert len(expected.unique()) > 3
    assert torch.equal(generate(again, prompt, 12, temperature=0), expected)
