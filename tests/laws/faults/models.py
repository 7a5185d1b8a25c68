"""Faults of whole models."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Context
from anyformer.laws.faults import breaks_model
from anyformer.models import SequenceModel, load_spec
from anyformer.models.build import Backbone
from anyformer.schema import Stream


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


@breaks_model("padding", "right padding of the source against", "encoded")
class LooksAtPadding(SequenceModel):
    """Looks at the padding of its source."""

    def encode(self, *args: Any, **more: Any) -> Context:
        return dataclasses.replace(super().encode(*args, **more), mask=None)


@breaks_model("padding", "right padding of the source against", "joined")
class JoinsPadding(SequenceModel):
    """Reads the padding of its source as a part of the sequence."""

    def forward(self, x: Tensor, mask: Tensor | None = None, *, source: Stream, **more: Any) -> Tensor:
        return super().forward(x, mask, source=Stream(source.inputs), **more)


@breaks_model("padding", "packed against alone", "encoded")
class PackedAsOne(SequenceModel):
    """Takes packed sources for one source."""

    def encode(self, source: Stream, **more: Any) -> Context:
        return super().encode(source.map(lambda t: t > 0 if t is source.mask else t), **more)


@breaks_model("reach", "outputs up to 0 of the x after a change of later tokens")
class SeesLaterTokens(SequenceModel):
    """Takes the mean of all tokens away."""

    def forward(self, *args: Any, **more: Any) -> Tensor:
        y = super().forward(*args, **more)
        return y - y.mean(1, keepdim=True)


@breaks_model("reach", "outputs up to 0 of the x after a change of later tokens", "encoded")
class SeesLaterTargets(SequenceModel):
    """Has a decoder that is not causal behind one that says it is."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        turn(self.body, causal=False)


@breaks_model("reach", "a change of the end of the source changes no output", "joined")
class StartsAnew(SequenceModel):
    """Begins with its inputs, whatever came before."""

    def forward(self, x: Tensor, mask: Tensor | None = None, *, source: Stream, **more: Any) -> Tensor:
        unseen = torch.zeros(source.inputs.shape[:2], dtype=torch.bool)  # type: ignore[union-attr]
        return super().forward(x, mask, source=Stream(source.inputs, unseen), **more)


@breaks_model("reach", "the encoder is causal", "encoded")
class CausalEncoder(SequenceModel):
    """Reads its source in one direction."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        assert self.spec.encoder is not None
        self.encoder = Backbone(self.spec, self.spec.encoder.layers, causal=True, prefix=0)


@breaks_model("reach", "does not change how its first one is encoded", "encoded")
class CausalInside(SequenceModel):
    """Has an encoder that says it reads both ways, and reads one."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        assert self.encoder is not None
        turn(self.encoder, causal=True)


@breaks_model("reach", "a change of token 0 of the source does not change every output", "encoded")
class DeafToItsSource(SequenceModel):
    """Writes without having read."""

    def encode(self, *args: Any, **more: Any) -> Context:
        context = super().encode(*args, **more)
        return dataclasses.replace(context, x=context.x[:, :1] * 0)


@breaks_model("pooling", "pooled", pool="last")
class FirstForLast(SequenceModel):
    """Reads the first token for the last one."""

    def forward(self, x: Tensor, mask: Tensor | None = None, **more: Any) -> Tensor:
        return self.head(self.body(self._embed(x), mask=mask)[:, 0])


@breaks_model("pooling", "pooled", "joined", pool="mean")
class PoolsItsSource(SequenceModel):
    """Takes the mean over its source too."""

    def forward(self, x: Tensor, mask: Tensor | None = None, *, source: Stream, **more: Any) -> Tensor:
        joined = torch.cat([self._embed_source(source), self._embed(x)], 1)
        return self.head(self.body(joined).mean(1))


@breaks_model("independence", "alone against it in a batch", "encoded")
class DependsOnBatch(SequenceModel):
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


@breaks_model("streaming", "streamed one by one against the whole", "encoded")
@breaks_model("streaming", "streamed one by one against the whole", "joined")
class ForgetsItsSource(SequenceModel):
    """Streams as if its source were another."""

    def start(self, x: Tensor, mask: Tensor | None = None, *, source: Stream, **more: Any) -> Any:
        return super().start(x, mask, source=Stream(0 * source.inputs, source.mask), **more)  # type: ignore[operator]


@breaks_model("gradient", "parameter embed.weight gets no gradient", "encoded")
@breaks_model("gradient", "parameter embed.weight gets no gradient", "joined")
class DetachedEmbedding(SequenceModel):
    """Does not learn its embedding."""

    def __init__(self, spec: dict[str, Any], *args: Any, **more: Any) -> None:
        super().__init__(load_spec(spec, head="linear(tied=false)").model_dump(), *args, **more)
        self.embed.register_forward_hook(lambda module, given, y: y.detach())
