"""A linear-chain conditional random field (Lafferty et al. 2001), on a neural network as in Huang et al. 2015."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.heads import register_head
from anyformer.heads._base import Loss
from anyformer.heads.linear import LinearHead
from anyformer.precision import widen
from anyformer.questions import IGNORED, Question, compacted


@register_head("crf")
class CRF(LinearHead):
    """Scores of whole paths of classes; the answer is the best path.

    The classes y_1 ... y_N of the N elements that are asked about have the probability ::

        p(y | h) = exp(s(y)) / sum over paths z of exp(s(z))
        s(y) = start[y_1] + sum over t of e_t[y_t] + sum over t > 1 of transitions[y_{t-1}, y_t] + end[y_N]

    where the emissions e_t = W h_t + b are the outputs of ``forward``. Elements that are not asked about, such as
    padding, are no part of the path. The loss is -log p of the right path, by the forward algorithm. Transitions begin
    at zero, where it equals the sum of the elements' cross-entropies.
    """

    pools = (None,)
    sees_whole = True

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs, **options)
        self.transitions = nn.Parameter(torch.zeros(num_outputs, num_outputs))
        self.start = nn.Parameter(torch.zeros(num_outputs))
        self.end = nn.Parameter(torch.zeros(num_outputs))

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for a class of each element."""
        if question.kind == "class" and question.place == "each":
            return None
        asked = "one class of the whole sequence" if question.kind == "class" else question.what
        return f"answers with a class for each element of a sequence, not with {asked}"

    def loss(self, outputs: Tensor, targets: Tensor, objective: Loss) -> Tensor:
        """Return -log p of the right paths, over the number of their classes; 0 if there are none."""
        return self._nll(outputs, targets).sum() / (targets >= 0).sum().clamp(min=1)

    def loss_items(self, outputs: Tensor, targets: Tensor, objective: Loss) -> tuple[Tensor, Tensor]:
        """Return -log p of each sample's right path, and the number of its classes."""
        return self._nll(outputs, targets).detach().double(), (targets >= 0).sum(1).double()

    def answer(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return log probabilities of each element's classes, whose argmax is the best path.

        They are the :meth:`marginals`, but where another class than the best path's is the likeliest of an element,
        the scores of these two are exchanged. Elements that are not asked about keep their emissions.
        """
        chain = _Chain(outputs, asked)
        scores, path = self._marginals(chain), self._best(chain)[..., None]
        likeliest = scores.argmax(-1, keepdim=True)
        top, own = scores.gather(-1, likeliest), scores.gather(-1, path)
        above = torch.nextafter(top, torch.full_like(top, torch.inf))  # no tie may hide the path
        return chain.put_back(scores.scatter(-1, likeliest, own).scatter(-1, path, above))

    def marginals(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the log probability of each class of each element ``(B, T, C)``, by the forward-backward algorithm.

        Elements that are not asked about keep their emissions.
        """
        chain = _Chain(outputs, asked)
        return chain.put_back(self._marginals(chain))

    def decode(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the best path ``(B, T)`` int64, by Viterbi's algorithm; ``IGNORED`` where nothing is asked."""
        chain = _Chain(outputs, asked)
        found = outputs.new_full((*outputs.shape[:2], 1), IGNORED, dtype=torch.int64)
        return chain.put_back(self._best(chain)[..., None], found)[..., 0]

    def log_partition(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return log sum over paths z of exp(s(z)) ``(B,)``; 0 for a sample without elements."""
        return self._log_partition(_Chain(outputs, asked))

    def _weights(self, chain: _Chain) -> tuple[Tensor, Tensor, Tensor]:
        """The transitions, and the scores of first and last classes, in the emissions' type."""
        dtype = chain.emissions.dtype
        return self.transitions.to(dtype), self.start.to(dtype), self.end.to(dtype)

    def _nll(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.shape[:-1] != targets.shape:
            raise ValueError(
                f"outputs must have shape {(*targets.shape, self.out_features)}, got {tuple(outputs.shape)}"
            )
        chain = _Chain(outputs, targets >= 0)
        transitions, start, end = self._weights(chain)
        path = chain.taken(targets.clamp(min=0)[..., None])[..., 0]
        own = chain.emissions.gather(-1, path[..., None])[..., 0]
        moves = transitions[path[:, :-1], path[:, 1:]]
        score = torch.where(chain.real, own, 0).sum(1) + torch.where(chain.real[:, 1:], moves, 0).sum(1)
        last = path.gather(1, (chain.counts - 1).clamp(min=0)[:, None])[:, 0]
        score = score + torch.where(chain.counts > 0, start[path[:, 0]] + end[last], 0)
        return self._log_partition(chain) - score

    def _log_partition(self, chain: _Chain) -> Tensor:
        end = self._weights(chain)[2]
        return torch.where(chain.counts > 0, (self._forward(chain)[-1] + end).logsumexp(-1), 0)

    def _forward(self, chain: _Chain) -> list[Tensor]:
        """The log sums over all paths up to each element that end in each class, N of ``(B, C)``."""
        transitions, start, _ = self._weights(chain)
        found = [start + chain.emissions[:, 0]]
        for emission, real in zip(chain.emissions.unbind(1)[1:], chain.real.unbind(1)[1:]):
            reached = (found[-1][:, :, None] + transitions).logsumexp(1) + emission
            found.append(torch.where(real[:, None], reached, found[-1]))
        return found

    def _marginals(self, chain: _Chain) -> Tensor:
        transitions, _, end = self._weights(chain)
        beyond = [end.expand(len(chain.emissions), -1)]
        for emission, real in zip(chain.emissions.unbind(1)[:0:-1], chain.real.unbind(1)[:0:-1]):
            reached = (transitions + (emission + beyond[-1])[:, None]).logsumexp(2)
            beyond.append(torch.where(real[:, None], reached, beyond[-1]))
        return (torch.stack(self._forward(chain), 1) + torch.stack(beyond[::-1], 1)).log_softmax(-1)

    def _best(self, chain: _Chain) -> Tensor:
        """The best path ``(B, N)``."""
        transitions, start, end = self._weights(chain)
        best, origins = start + chain.emissions[:, 0], list[Tensor]()
        stay = torch.arange(self.out_features, device=best.device)
        for emission, real in zip(chain.emissions.unbind(1)[1:], chain.real.unbind(1)[1:]):
            reached, origin = (best[:, :, None] + transitions).max(1)
            best = torch.where(real[:, None], reached + emission, best)
            origins.append(torch.where(real[:, None], origin, stay))
        path = [(best + end).argmax(-1)]
        for origin in reversed(origins):
            path.append(origin.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1], 1)


class _Chain:
    """The elements that are asked about, side by side from the left.

    Attributes:
        emissions: ``(B, N, C)`` in at least float32, N at least 1.
        real: ``(B, N)`` bool.
        counts: ``(B,)``, of real elements.
    """

    def __init__(self, outputs: Tensor, asked: Tensor | None) -> None:
        if asked is None:
            asked = torch.ones(outputs.shape[:2], dtype=torch.bool, device=outputs.device)
        self.outputs = outputs
        self.index, self.real = compacted(asked)
        self.counts = self.real.sum(1)
        self.emissions = widen(self.taken(outputs))

    def taken(self, values: Tensor) -> Tensor:
        """Return ``(B, N, W)`` of values ``(B, T, W)``."""
        return values.gather(1, self.index[..., None].expand(-1, -1, values.shape[-1]))

    def put_back(self, values: Tensor, into: Tensor | None = None) -> Tensor:
        """Return values ``(B, T, W)`` of ``(B, N, W)``; where nothing is asked, those of ``into``, else outputs."""
        into = self.outputs if into is None else into
        held = torch.where(self.real[..., None], values.to(into.dtype), self.taken(into))
        return into.scatter(1, self.index[..., None].expand_as(held), held)
