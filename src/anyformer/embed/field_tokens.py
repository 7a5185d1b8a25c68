"""Each field of a record as a token (Gorishniy et al. 2021, section 3.3: the feature tokenizer of FT-Transformer)."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.embed.embedder import Embedder


class FieldTokens(Embedder):
    """x_f = E_f(value_f): T is the number of fields. A number's token is ``value * w_f + b_f``."""

    def join(self, vectors: list[Tensor]) -> Tensor:
        """The fields' vectors ``(B, D)`` side by side."""
        return torch.stack(vectors, 1)
