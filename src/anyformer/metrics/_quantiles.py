"""The base of metrics of quantiles."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics._base import Ratio
from anyformer.questions import Question, Target, pinball, quantiles_of


class PinballLoss(Ratio):
    """The mean pinball loss over quantiles and known numbers; a subclass gives its unit."""

    higher_is_better = False
    limits = (0.0, float("inf"))

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for quantiles."""
        return refuses_all_but_quantiles(question)

    def losses(self, outputs: Tensor, target: Target) -> Tensor:
        """Return each number's loss in the user's units, float64, in the targets' shape; NaN where unknown."""
        levels = self.question.levels
        found = quantiles_of(outputs.detach().double(), target.values.shape, levels)
        losses = pinball(found, target.values.double()[..., None], levels).mean(-1)
        return losses if target.scale is None else losses * target.scale


def refuses_all_but_quantiles(question: Question) -> str | None:
    """Return why a question is not one for quantiles; None if it is."""
    return None if question.kind == "quantiles" else "measures quantiles of forecasts"
