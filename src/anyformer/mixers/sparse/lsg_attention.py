"""LSG attention: local, sparse and global keys."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot, pad

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.ops.select import hash_buckets
from anyformer.positions import Scheme, create_position, require

SELECTIONS = ("local", "stride", "block_stride", "pooling", "norm", "lsh")


class Keys(NamedTuple):
    """Keys and values (B, H, S, K), and the mask of the real ones, (B, H, S)."""

    k: Tensor
    v: Tensor
    real: Tensor

    def take(self, slots: Tensor) -> Keys:
        """Return the keys at slots (B or 1, H or 1, S')."""
        slots = slots.expand(*self.k.shape[:2], -1)
        k, v = (t.gather(2, slots[..., None].expand(-1, -1, -1, t.shape[3])) for t in (self.k, self.v))
        return Keys(k, v, self.real.gather(2, slots))


@register_mixer(
    "lsg_attention",
    examples=[
        {"block": 4, "sparsity": 2, "selection": "norm"},
        {"block": 4, "sparsity": 2, "selection": "stride", "num_global": 2},
        {"block": 4, "sparsity": 4, "selection": "block_stride", "positions": "rope"},
        {"block": 6, "sparsity": 3, "selection": "pooling", "num_global": 0},
        {"block": 8, "sparsity": 2, "selection": "lsh", "num_heads": 2},
        {"block": 4, "selection": "local"},
    ],
)
class LSGAttention(Mixer):
    """Attention to neighbouring blocks, a subsample of the keys beyond, and global tokens (Condevaux 2022).

    The first ``num_global`` tokens see all and are seen by all. The others form blocks of ``block`` tokens. A token
    sees its own block, the block on each side, and beyond these ``block`` sparse keys on each side, one per
    ``sparsity`` tokens, which cover ``block * sparsity`` tokens more::

        block i        sparse           i-1    i    i+1        sparse
                 |. . . . . . . . | #### #### #### | . . . . . . . .|

    ``selection`` is the reduction of the keys by ``sparsity``:

    ============ ===========================================================================================
    stride       every ``sparsity``-th token, with another offset for each head
    block_stride neighbouring tokens of each block, with another offset for each head
    pooling      means of ``sparsity`` neighbours
    norm         the tokens of each block whose keys are largest
    lsh          means of the tokens of a block whose keys have the same hash
    local        no sparse keys
    ============ ===========================================================================================

    Args:
        num_heads: heads H.
        block: tokens of a block.
        sparsity: the factor, a divisor of ``block``.
        num_global: global tokens.
        positions: a position scheme by name that rotates queries and keys, or ``none``.
        seed: of the random hashes.
        bias: biases on the projections.
        causal: must be False: a block sees the next one.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        block: int = 64
        sparsity: int = 2
        selection: str = "norm"
        num_global: int = 1
        positions: Scheme = "none"
        seed: int = 0
        bias: bool = False
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "a block sees the next one")
            if self.selection not in SELECTIONS:
                raise ValueError(f"selection must be one of {', '.join(SELECTIONS)}; got {self.selection!r}")
            if self.block < 1 or self.sparsity < 1 or self.block % self.sparsity or self.num_global < 0:
                raise ValueError(
                    f"sparsity must divide block and num_global not be negative; "
                    f"got {self.sparsity}, {self.block} and {self.num_global}"
                )
            if self.selection == "lsh" and self.block // self.sparsity % 2:
                raise ValueError(
                    f"block / sparsity must be even for hashes, got {self.block // self.sparsity}"
                )
            facts = require("lsg_attention", self.positions)
            if facts.scores:
                raise ValueError(
                    f"positions={self.positions!r} do not go with lsg_attention: they change scores"
                )
            return MixerInfo(reach=(None, None), max_length=facts.max_length)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.block, self.sparsity = o.num_heads, o.block, o.sparsity
        self.selection, self.num_global = o.selection, o.num_global
        self.positions = create_position(o.positions, dim=dim, num_heads=o.num_heads, head_dim=K)
        self.q, self.k, self.v, self.out = (Linear(dim, dim, bias=o.bias) for _ in range(4))
        if o.selection == "lsh":
            generator = torch.Generator().manual_seed(o.seed)
            drawn = torch.randn(o.num_heads, K, o.block // o.sparsity // 2, generator=generator, device="cpu")
            self.register_buffer("directions", normalize(drawn, dim=1))

    directions: Tensor

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        (B, T, _), G = x.shape, min(self.num_global, x.shape[1])
        k = split_heads(self.k.exact(x), self.num_heads)  # keys choose
        q, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.v))
        q, k = self.positions.rotate(q, k.to(q.dtype), inputs.positions)
        real = torch.ones(B, T, dtype=torch.bool, device=x.device) if inputs.mask is None else inputs.mask
        keys = Keys(k, v, real[:, None].expand(-1, self.num_heads, -1))
        parts = []
        if G:
            parts.append(attention(q[:, :, :G], k, v, visible=real[:, None, None, :]))
        if T > G:
            few, rest = (Keys(*(t[:, :, at] for t in keys)) for at in (slice(0, G), slice(G, T)))
            parts.append(self._blocks(q[:, :, G:], few, rest))
        return self.out(merge_heads(torch.cat(parts, 2))) if parts else x

    def _blocks(self, q: Tensor, few: Keys, rest: Keys) -> Tensor:
        """Attend from the tokens after the global ones."""
        (B, H, T), b = q.shape[:3], self.block
        missing = -T % b
        q = pad(q, (0, 0, 0, missing))
        k, v = (pad(t, (0, 0, 0, missing)) for t in (rest.k, rest.v))
        rest = Keys(k, v, pad(rest.real, (0, missing)))
        n = q.shape[2] // b
        number = torch.arange(n, device=q.device)[:, None]
        windows = [(rest, (number - 1) * b + torch.arange(3 * b, device=q.device))]
        if self.selection != "local":
            s = b // self.sparsity
            side = torch.arange(b, device=q.device)
            places = torch.cat([(number - 1) * s - b + side, (number + 2) * s + side], 1)
            windows.append((self._thinned(rest), places))
        found = [Keys(*(t[:, :, None].expand(-1, -1, n, *(-1,) * (t.dim() - 2)) for t in few))]
        for source, places in windows:
            size = source.k.shape[2]
            inside = (places >= 0) & (places < size)
            taken = source.take(places.clamp(0, size - 1).reshape(1, 1, -1))
            blocks = Keys(*(t.unflatten(2, (n, -1)) for t in taken))
            found.append(blocks._replace(real=blocks.real & inside))
        k, v, seen = (torch.cat([keys[i] for keys in found], 3).flatten(0, 2)[:, None] for i in range(3))
        y = attention(q.unflatten(2, (n, b)).flatten(0, 2)[:, None], k, v, visible=seen[:, :, None])
        return y[:, 0].unflatten(0, (B, H, n)).flatten(2, 3)[:, :, :T]

    def _thinned(self, keys: Keys) -> Keys:
        """Return one key per ``sparsity`` tokens, in the order of the blocks."""
        (H, S), b, f = keys.k.shape[1:3], self.block, self.sparsity
        device = keys.k.device
        head, s, n = torch.arange(H, device=device)[:, None], b // f, S // b
        if self.selection == "stride":
            return keys.take((torch.arange(S // f, device=device) * f + head % f)[None])
        start = torch.arange(n, device=device)[:, None] * b
        if self.selection == "block_stride":
            within = (torch.arange(s, device=device) + head * s) % b
            return keys.take((start + within[:, None]).flatten(1)[None])
        if self.selection == "norm":
            size = keys.k.detach().norm(dim=-1).masked_fill(~keys.real, -1.0)
            return keys.take((size.unflatten(2, (n, b)).topk(s, -1).indices + start).flatten(2))
        if self.selection == "pooling":
            member = torch.arange(b, device=device).div(f, rounding_mode="floor")
            member = one_hot(member, s).expand(*keys.real.shape[:2], n, b, s)
        else:
            member = one_hot(hash_buckets(keys.k, self.directions), s).unflatten(2, (n, b))
        member = member * keys.real.unflatten(2, (n, b))[..., None]
        count = member.sum(3)
        mean = (member / count.clamp_min(1)[..., None, :]).to(keys.k.dtype).mT
        k, v = ((mean @ t.unflatten(2, (n, b))).flatten(2, 3) for t in (keys.k, keys.v))
        return Keys(k, v, count.flatten(2) > 0)
