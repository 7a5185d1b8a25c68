"""Faults of embedders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.embed._base import EmbedderInfo, Sites
from anyformer.embed.field_sum import FieldSum
from anyformer.embed.variates import Variates
from anyformer.laws.faults import breaks_embedder
from anyformer.schema import StreamFacts, Values


@breaks_embedder("tokens", "vectors have shape .*, and length says")
class OneMore(FieldSum):
    """Puts a vector in front and does not say so."""

    def forward(self, values: Values) -> Tensor:
        x = super().forward(values)
        return torch.cat([x[:, :1], x], 1)


@breaks_embedder("tokens", "length is 7, and info.grid has 6 places")
class WrongGrid(FieldSum):
    """Declares a grid that its vectors do not fill."""

    class Options(FieldSum.Options):
        def info(self, facts: StreamFacts) -> EmbedderInfo:
            return EmbedderInfo(grid=(2, 3))


@breaks_embedder("independence", "a sample alone against it in a batch")
class NormOfTheBatch(FieldSum):
    """Takes the mean of the batch away."""

    def forward(self, values: Values) -> Tensor:
        x = super().forward(values)
        return x - x.mean(0, keepdim=True)


@breaks_embedder("independence", "a second call")
class Noisy(FieldSum):
    """Adds noise in evaluation too."""

    def forward(self, values: Values) -> Tensor:
        x = super().forward(values)
        return x + 0.01 * torch.randn_like(x)


@breaks_embedder("pieces", "elements 0 to 3 against the whole")
class SeesNeighbours(FieldSum):
    """Adds the next element."""

    def forward(self, values: Values) -> Tensor:
        x = super().forward(values)
        return x + x.roll(-1, 1)


@breaks_embedder("permutation", "a set in another order", "set")
class KnowsItsPlace(FieldSum):
    """Adds the number of the element to it."""

    def forward(self, values: Values) -> Tensor:
        x = super().forward(values)
        return x + torch.arange(x.shape[1], dtype=x.dtype)[:, None]


@breaks_embedder("fields", "category 'category' changes no vector")
class DropsCategories(FieldSum):
    """Embeds each category as the first one."""

    def forward(self, values: Values) -> Tensor:
        return super().forward({**values, "category": torch.zeros_like(values["category"])})


@breaks_embedder("fields", "number 1 of field 'numbers' changes no vector")
class DropsANumber(FieldSum):
    """Embeds the first number twice."""

    def forward(self, values: Values) -> Tensor:
        return super().forward({**values, "numbers": values["numbers"][..., :1].repeat(1, 1, 2)})


@breaks_embedder("gradient", "parameter unused gets no gradient")
class Unused(FieldSum):
    """Has a parameter that does nothing."""

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        self.unused = nn.Parameter(torch.zeros(dim))


@breaks_embedder("precision", "vectors of parameters in torch.bfloat16 are torch.float32")
class Widens(FieldSum):
    """Gives float32 whatever the parameters are in."""

    def forward(self, values: Values) -> Tensor:
        return super().forward(values).float()


@breaks_embedder("persistence", "vectors of loaded weights")
class Forgets(FieldSum):
    """Draws a shift that is not saved."""

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        self.register_buffer("shift", torch.randn(dim), persistent=False)

    def forward(self, values: Values) -> Tensor:
        return super().forward(values) + self.shift


@breaks_embedder("sharing", "the module of field 'numbers' is another one")
class SharesNothing(FieldSum):
    """Makes modules of its own whatever it is given."""

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, **options)


@breaks_embedder("errors", "an unknown option: no error")
class TakesAnything(FieldSum):
    """Ignores options that it does not have."""

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known)


@breaks_embedder("sites", "what is read has shape .*, and info.sites says", shape="window")
class ReadsAllColumns(Variates):
    """Says that it reads one target, and reads all."""

    class Options(Variates.Options):
        def info(self, facts: StreamFacts) -> EmbedderInfo:
            return super().info(facts)._replace(sites=Sites(1, 1))


@breaks_embedder("sites", "what is read is not the hidden states", shape="window")
class ReadsTheSum(Variates):
    """Reads twice the hidden states."""

    def read(self, h: Tensor) -> Tensor:
        return 2 * super().read(h)


@breaks_embedder("sites", "answers have shape .* for outputs", shape="window")
class AnswersOneTarget(Variates):
    """Gives the answers of the first target alone."""

    def answer(self, outputs: Tensor, values: Values) -> Tensor:
        return super().answer(outputs[:, :1], values)


@breaks_embedder("sites", "the answer of a sample alone against it in a batch", shape="window")
class AnswersByTheBatch(Variates):
    """Adds the mean of the batch to its answers."""

    def answer(self, outputs: Tensor, values: Values) -> Tensor:
        return super().answer(outputs, values) + values["numbers"].mean()
