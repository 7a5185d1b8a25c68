"""Each field of a record as a token (Gorishniy et al. 2021, section 3.3: the feature tokenizer of FT-Transformer)."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.embed import register_embedder
from anyformer.embed._base import EmbedderInfo
from anyformer.embed._fields import FieldVectors
from anyformer.schema import StreamFacts, Values


@register_embedder("field_tokens")
class FieldTokens(FieldVectors):
    """Each field of a record as a token: x_f = E_f(value_f), of a number ``value * w_f + b_f``; T is their number."""

    class Options(FieldVectors.Options):
        def info(self, facts: StreamFacts) -> EmbedderInfo:
            self.needs(facts, "record")
            return EmbedderInfo(length=len(facts.fields))

    def forward(self, values: Values) -> Tensor:
        """x ``(B, T, D)`` of checked values, T the number of fields."""
        found, names = self.categories(values), self.facts.names
        order, parts = list(found), [torch.stack(list(found.values()), 1)] if found else []
        for places in self.numbers.values():
            weight, bias = self.maps(places)
            given = torch.stack([values[names[place]] for place in places], 1)  # (B, F, W)
            parts.append(torch.einsum("bfw,fdw->bfd", given, weight) + bias)
            order += places
        x = torch.cat(parts, 1)
        return x if order == sorted(order) else x[:, torch.tensor(order).argsort().to(x.device)]
