"""Faults of whole models."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Context
from anyformer.laws.faults import breaks_model
from anyformer.models import EncoderDecoder, SequenceModel
from anyformer.models.build import Backbone
from anyformer.state import State


def turn(body: Backbone, *, causal: bool) -> None:
    """Make a body causal, or not, behind an info that says the contrary."""
    for mixer in body.stack.mixers:
        if hasattr(mixer, "causal"):
            mixer.causal = causal  # type: ignore[assignment]


@breaks_model("padding", "right padding against sample 1 alone", pool="mean")
class MeanOfPadding(SequenceModel):
    """Takes its mean over padding too."""

    def forward(self, x: Tensor, mask: Tensor | None = None, **more: Any) -> Tensor:
        return self.head(self.body(self._embed(x), mask=mask).mean(1))


@breaks_model("padding", "right padding of the source against")
class LooksAtPadding(EncoderDecoder):
    """Looks at the padding of its source."""

    def encode(self, *args: Any, **more: Any) -> Context:
        return dataclasses.replace(super().encode(*args, **more), mask=None)


@breaks_model("padding", "packed against alone")
class PackedAsOne(EncoderDecoder):
    """Takes packed sources for one source."""

    def encode(self, source: Tensor, mask: Tensor | None = None, **more: Any) -> Context:
        return super().encode(source, None if mask is None else mask > 0, **more)


@breaks_model("reach", "outputs up to 0 of the x after a change of later tokens")
class SeesLaterTokens(SequenceModel):
    """Takes the mean of all tokens away."""

    def forward(self, *args: Any, **more: Any) -> Tensor:
        y = super().forward(*args, **more)
        return y - y.mean(1, keepdim=True)


@breaks_model("reach", "outputs up to 0 of the target after a change of later tokens")
class SeesLaterTargets(EncoderDecoder):
    """Has a decoder that is not causal behind one that says it is."""

    def __init__(self, spec: dict[str, Any], *args: Any) -> None:
        super().__init__(spec, *args)
        turn(self.decoder, causal=False)


@breaks_model("reach", "the encoder is causal")
class CausalEncoder(EncoderDecoder):
    """Reads its source in one direction."""

    def __init__(self, spec: dict[str, Any], *args: Any) -> None:
        super().__init__(spec, *args)
        self.encoder = Backbone(self.spec, self.spec.encoder, causal=True, prefix=0)


@breaks_model("reach", "does not change how its first one is encoded")
class CausalInside(EncoderDecoder):
    """Has an encoder that says it reads both ways, and reads one."""

    def __init__(self, spec: dict[str, Any], *args: Any) -> None:
        super().__init__(spec, *args)
        turn(self.encoder, causal=True)


@breaks_model("reach", "a change of token 0 of the source does not change every output")
class DeafToItsSource(EncoderDecoder):
    """Writes without having read."""

    def encode(self, *args: Any, **more: Any) -> Context:
        context = super().encode(*args, **more)
        return dataclasses.replace(context, x=context.x[:, :1] * 0)


@breaks_model("pooling", "pooled", pool="last")
class FirstForLast(SequenceModel):
    """Reads the first token for the last one."""

    def forward(self, x: Tensor, mask: Tensor | None = None, **more: Any) -> Tensor:
        return self.head(self.body(self._embed(x), mask=mask)[:, 0])


@breaks_model("independence", "alone against it in a batch")
class DependsOnBatch(EncoderDecoder):
    """Takes the batch's mean away."""

    def forward(self, *args: Any, **more: Any) -> Tensor:
        y = super().forward(*args, **more)
        return y - y.mean(0)


@breaks_model("persistence", "loaded model")
class DrawsAScale(SequenceModel):
    """Draws a number when built and does not save it."""

    def __init__(self, spec: dict[str, Any], vocab_size: int) -> None:
        super().__init__(spec, vocab_size)
        self.scale = float(torch.rand(()))

    def forward(self, *args: Any, **more: Any) -> Tensor:
        return self.scale * super().forward(*args, **more)


@breaks_model("streaming", "streamed one by one against the whole")
class ForgetsItsSource(EncoderDecoder):
    """Streams as if its source were nothing."""

    def stream(self, target: Tensor, state: State, *args: Any, context: Context | None = None) -> Any:
        if context is not None:
            context = dataclasses.replace(context, x=0 * context.x)
        return super().stream(target, state, *args, context=context)


@breaks_model("gradient", "parameter target_embed.weight gets no gradient")
class DetachedEmbedding(EncoderDecoder):
    """Does not learn its embedding."""

    def __init__(self, spec: dict[str, Any], *args: Any) -> None:
        super().__init__({**spec, "tie_embeddings": False}, *args)
        self.target_embed.register_forward_hook(lambda module, given, y: y.detach())
