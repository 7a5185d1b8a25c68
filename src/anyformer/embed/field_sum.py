"""The sum of its fields' vectors for each element of a sequence or set, or for a record."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.embed import register_embedder
from anyformer.embed._base import EmbedderInfo
from anyformer.embed._fields import FieldVectors
from anyformer.ops.linear import linear
from anyformer.schema import StreamFacts, Values


@register_embedder("field_sum")
class FieldSum(FieldVectors):
    """Each element of a sequence or set as the sum of its fields: x_t = sum over fields f of E_f(value_{t,f}).

    A record is one element: a linear map of its numbers, and a vector for each of its categories.
    """

    class Options(FieldVectors.Options):
        def info(self, facts: StreamFacts) -> EmbedderInfo:
            self.needs(facts, "sequence", "set", "record")
            return EmbedderInfo(length=1 if facts.shape == "record" else None)

    def forward(self, values: Values) -> Tensor:
        """x ``(B, T, D)`` of checked values; of a record T = 1."""
        parts, names = list(self.categories(values).values()), self.facts.names
        for places in self.numbers.values():
            weight, bias = self.maps(places)
            given = torch.cat([values[names[place]] for place in places], -1)  # (..., F * W)
            parts.append(linear(given, weight.transpose(0, 1).flatten(1), bias.sum(0)))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total[:, None] if self.facts.shape == "record" else total
