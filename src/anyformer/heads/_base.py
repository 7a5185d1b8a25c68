"""The interface of a head."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from anyformer.options import Part, PartOptions
from anyformer.questions import Question

Pool = Literal["mean", "last"] | None
"""How hidden states are pooled over time before the head; None for outputs at each element."""


class Loss(Protocol):
    """A loss of outputs, as :class:`anyformer.objectives.Objective` has it."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the targets that count, a scalar in at least float32."""

    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return sums over each sample's targets that count, and their numbers, both ``(B,)`` float64."""


class Head(Part, nn.Module):
    """A map from hidden states to outputs, with the loss that trains it and the answers it gives.

    ``forward`` maps ``(..., D)`` to outputs ``(..., O)``. By default these are the answers, and the loss is the one
    that the task's objective has.

    Args:
        dim: width D of the hidden states.
        num_outputs: width O of the outputs.
        options: see ``Options``.
    """

    class Options(PartOptions):
        """The options of a head.

        Args:
            bias: a bias on the outputs; by default a model has it, unless its outputs are those of each token.
            tied: use the embedding's table as the output matrix; an encoder-decoder of numbers has none to tie.
        """

        bias: bool | None = None
        tied: bool = False

    options: Options
    pools: ClassVar[tuple[Pool, ...]] = (None, "mean", "last")
    """The ways of pooling that it goes with."""
    sees_whole: ClassVar[bool] = False
    """True if an element's answer depends on the outputs of later ones."""
    context: int = 0
    """Tokens up to each element that ``forward`` reads beside hidden states, as ``tokens`` (..., context); 0 for none.
    In training it also reads the answers, as ``following`` (...,). Both are int64, numbered from 1, 0 for none."""
    reads_sample: ClassVar[bool] = False
    """True if ``forward`` of a head with ``context`` also reads, in training, all tokens of each element's sample and
    the answers, as ``sample`` (..., K), so numbered."""
    fit_elements: ClassVar[int] = 0
    """Training tokens that :meth:`fit` is given at most; 0 if it needs none."""

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Return why it does not answer this question, to follow its name; None if it does."""
        return None

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__()
        self.options = self.Options.read(options)

    def fit(self, tokens: Tensor, following: Tensor) -> None:
        """Choose what is not trained by training samples.

        Args:
            tokens: ``(B, T)`` int64, numbered from 1; 0 where there is none.
            following: ``(B, T)`` int64, the answer that is asked at each, so numbered.
        """

    def tie(self, embedding: nn.Embedding) -> None:
        """Take the table of an embedding as the output matrix."""
        self.weight = embedding.weight

    def loss(self, outputs: Tensor, targets: Tensor, objective: Loss) -> Tensor:
        """Return the mean loss over the targets that count, a scalar.

        Args:
            outputs: of ``forward``, in at least float32.
            targets: in the form that the objective states.
            objective: the task's.
        """
        return objective.loss(outputs, targets)

    def loss_items(self, outputs: Tensor, targets: Tensor, objective: Loss) -> tuple[Tensor, Tensor]:
        """Return the loss summed over each sample's targets that count, and their number, both ``(B,)`` float64."""
        return objective.loss_items(outputs, targets)

    def answer(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return answers for metrics: logits whose argmax is the answer, or numbers; of the shape of ``outputs``.

        Args:
            outputs: of ``forward``, in at least float32.
            asked: ``(B, T)`` bool, True at the elements that answers are asked for; by default all.
        """
        return outputs
