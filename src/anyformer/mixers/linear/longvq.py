"""LongVQ: Mega with quantised keys, so that its attention is linear in the length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, one_hot

from anyformer.contract import Inputs, MixerInfo, Mixing
from anyformer.mixers import register_mixer
from anyformer.mixers.softmax.mega import Mega
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.vector_quantize import vector_quantize
from anyformer.precision import no_autocast
from anyformer.state import State

SMOOTH = 1e-5


@register_mixer(
    "longvq",
    examples=[
        {"num_averages": 3, "num_codes": 6},
        {"num_averages": 3, "num_codes": 6, "causal": False},
        {"num_averages": 0, "num_codes": 4},
    ],
)
class LongVQ(Mega):
    """:class:`~anyformer.mixers.softmax.mega.Mega` with quantised keys (Liu 2024, arXiv 2404.11163).

    Queries, keys and values are projections of moving averages. With D the one-hot codes of the keys and C the
    codebook, softmax(Q (D C)^T) V = exp(Q C^T) D^T V / exp(Q C^T) D^T 1: linear attention with queries exp(Q C^T) and
    keys D, whose state holds the sum of the values of each code.

    Queries and keys are layer-normed. In training the loss ``commitment`` pulls keys to their entries, and entries are
    running means of the keys nearest to them.

    Args:
        num_averages, key_dim, value_factor: as Mega's.
        num_codes: entries N of the codebook.
        decay: of the codebook's running means, per step.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    class Options(Mega.Options, without=("normalizer", "chunk_len", "positions")):
        positions = "none"
        num_codes: int = 64
        decay: float = 0.99

        def info(self) -> MixerInfo:
            if self.num_codes < 1:
                raise ValueError(f"num_codes must be at least 1, got {self.num_codes}")
            if not 0 <= self.decay < 1:
                raise ValueError(f"decay must be at least 0 and below 1, got {self.decay}")
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost="n log n",
                state="constant" if self.causal else "none",
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.num_codes, self.decay = self.options.num_codes, self.options.decay
        codebook = layer_norm(torch.randn(self.num_codes, self.key_dim), (self.key_dim,))
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.ones(self.num_codes))
        self.register_buffer("sums", codebook.clone())

    def _codes(self, k: Tensor, inputs: Inputs) -> Tensor:
        """Return one-hot codes (B, 1, T, N) of the keys, zero at masked tokens; in training, add notes and the loss."""
        codes, entries = vector_quantize(k, self.codebook)
        member = one_hot(codes, self.num_codes).to(k.dtype)
        if inputs.mask is not None:
            member = member * inputs.mask[:, None, :, None]
        if self.training:
            away = (k - entries.detach()).square().mean(-1) * member.sum(-1)
            inputs.call.add_loss("commitment", away.sum() / member.sum().clamp_min(1))
            inputs.call.note(self, "counts", member.sum((0, 1, 2)))
            inputs.call.note(self, "sums", torch.einsum("bhtn,bhtk->nk", member, k))
        return member

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        """Update the running counts and sums of each entry by the step's; the entry is their ratio."""
        if not notes:
            return
        for name in ("counts", "sums"):
            held = getattr(self, name)
            held.lerp_(notes[name].to(held), 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + SMOOTH) / (total + self.num_codes * SMOOTH) * total
        self.codebook.copy_(self.sums / smoothed[:, None].clamp_min(SMOOTH))

    def _look(
        self, q: Tensor, k: Tensor, v: Tensor, s: Tensor | None, inputs: Inputs
    ) -> tuple[Tensor, Tensor]:
        """Return o (B, 1, T, V) and the state after the last token, (B, 1, N, V + 1)."""
        with no_autocast(q):
            float_ = torch.promote_types(q.dtype, torch.float32)
            q, k = (layer_norm(t.to(float_), (self.key_dim,)) for t in (q, k))
            member = self._codes(k, inputs)
            scores = q @ self.codebook.to(float_).mT * self.key_dim**-0.5
            seen = member.cumsum(2) if self.causal else member.sum(2, keepdim=True)
            seen = seen if s is None else seen + s[:, :, None, :, -1]
            scores = scores.masked_fill(
                seen == 0, -torch.inf
            )  # so that the maximum is over codes that have occurred
            top = scores.amax(-1, keepdim=True)
            weights = (scores - torch.where(top == -torch.inf, 0.0, top).detach()).exp()
            return linear_attention(
                weights, member, v.to(float_), normalize=True, initial=s, causal=self.causal
            )

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if x.shape[1] == 0:
            return x
        q, k, v, parts = self._project(x, self._averages(x), inputs)
        return self._finish(self._look(q, k, v, None, inputs)[0].to(x.dtype), parts)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        averages = {} if self.ema is None else self.ema.init_state(batch_size, device, dtype)
        shape = (batch_size, 1, self.num_codes, self.value_dim + 1)
        wide = torch.promote_types(dtype, torch.float32)
        return {"ema": averages, "s": torch.zeros(shape, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        ema, averages = torch.zeros_like(x), state["ema"]
        if self.ema is not None:
            ema, averages = self.ema.stream(x, averages, inputs.lengths)
        q, k, v, parts = self._project(x, ema, inputs)
        o, s = self._look(q, k, v, state["s"], inputs)
        return self._finish(o.to(x.dtype), parts), {"ema": averages, "s": s}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, parts = self._project(x, self._averages(x), inputs)
        one = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(len(x), 1, -1, -1)
        matrix, _ = self._look(q, k, one, None, inputs)
        return Mixing(matrix, v, lambda y: inputs.zero(self._finish(y.to(x.dtype), parts)))
