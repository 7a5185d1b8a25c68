"""Each field of a record as a token (Gorishniy et al. 2021, section 3.3: the feature tokenizer of FT-Transformer)."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.embed import register_embedder
from anyformer.embed._base import EmbedderInfo
from anyformer.embed._fields import FieldVectors
from anyformer.schema import StreamFacts


@register_embedder("field_tokens")
class FieldTokens(FieldVectors):
    """Each field of a record as a token: x_f = E_f(value_f), of a number ``value * w_f + b_f``; T is their number."""

    class Options(FieldVectors.Options):
        def info(self, facts: StreamFacts) -> EmbedderInfo:
            self.needs(facts, "record")
            return EmbedderInfo(length=len(facts.fields))

    def join(self, vectors: list[Tensor]) -> Tensor:
        """The fields' vectors ``(B, D)`` side by side."""
        return torch.stack(vectors, 1)
