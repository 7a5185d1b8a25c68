"""Relations of candidates and references, from one set of contrasts: the headline, the details and the leaderboard say
the same of a row.

The best candidate is contrasted with the other candidates, and each reference with all candidates, each corrected by
Holm's method for its own number; the best reference is contrasted with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from anyformer.compare.results import Contrast
from anyformer.compare.verdict.confidence_intervals import LEVEL, ScoredEntry
from anyformer.compare.verdict.leaderboard import contrasts_by
from anyformer.compare.verdict.significance import beaten
from anyformer.metrics import MetricInfo

Relation = Literal["ahead", "tied", "behind"]


def relation_of(contrast: Contrast) -> Relation:
    """Return how the first of a contrast stands to the other: ahead or behind, beyond chance and by what matters."""
    if beaten(contrast):
        return "ahead"
    if contrast.difference < -contrast.smallest and contrast.p < LEVEL:
        return "behind"
    return "tied"


@dataclass(frozen=True)
class Ties:
    """Contrasts of a comparison, and which entries are tied.

    Attributes:
        order: the candidates that the verdict is on, best first.
        references: best first.
        rivals: contrasts of the best candidate with each of the others.
        against: for each reference, its contrasts with all candidates, in their order.
        others: contrasts of the best reference with each of the others.
    """

    order: Sequence[ScoredEntry]
    references: Sequence[ScoredEntry]
    rivals: Sequence[Contrast]
    against: Sequence[Sequence[Contrast]]
    others: Sequence[Contrast]

    @classmethod
    def found(
        cls, metric: MetricInfo, order: Sequence[ScoredEntry], references: Sequence[ScoredEntry]
    ) -> Ties:
        """Contrast candidates and references, both best first."""
        return cls(
            order,
            references,
            rivals=contrasts_by(metric, [(order[0], other) for other in order[1:]]),
            against=[contrasts_by(metric, [(entry, one) for entry in order]) for one in references],
            others=contrasts_by(metric, [(references[0], other) for other in references[1:]]),
        )

    @property
    def strongest(self) -> list[Contrast]:
        """For each reference the contrast with the best candidate that is ahead of it, or with the best of all."""
        return [next((c for c in found if beaten(c)), found[0]) for found in self.against if found]

    @property
    def unbeaten(self) -> list[ScoredEntry]:
        """The references that no candidate is ahead of."""
        pairs = zip(self.references, self.against, strict=True)
        return [reference for reference, found in pairs if not any(map(beaten, found))]

    @property
    def candidates(self) -> list[ScoredEntry]:
        """The best candidate and those tied with it."""
        pairs = zip(self.order[1:], self.rivals, strict=True)
        return [*self.order[:1], *(entry for entry, c in pairs if not beaten(c))]

    def contrast(self, candidate: ScoredEntry, reference: ScoredEntry) -> Contrast:
        """Return the contrast of a candidate with a reference."""
        return self._against(reference)[self.order.index(candidate)]

    def tied_with(self, reference: ScoredEntry) -> list[ScoredEntry]:
        """Return the candidates tied with a reference: those that the best is not ahead of, if there are any."""
        pairs = zip(self.order, self._against(reference), strict=True)
        tied = [entry for entry, c in pairs if relation_of(c) == "tied"]
        return [entry for entry in tied if entry in self.candidates] or tied

    def ahead_of_all(self, reference: ScoredEntry) -> bool:
        """Return True if every candidate is behind a reference."""
        return all(relation_of(c) == "behind" for c in self._against(reference))

    @property
    def best(self) -> list[ScoredEntry]:
        """The entries tied for best: nothing is ahead of them. One entry alone is tied with none."""
        behind = [
            entry
            for found in self.against
            for entry, c in zip(self.order, found, strict=True)
            if relation_of(c) == "behind"
        ]
        behind += [one for one, c in zip(self.references[1:], self.others, strict=True) if beaten(c)]
        first = [entry for entry in self.candidates if entry not in behind]
        first += [reference for reference in self.unbeaten if reference not in behind]
        return first if len(first) > 1 else []

    def _against(self, reference: ScoredEntry) -> Sequence[Contrast]:
        return self.against[self.references.index(reference)]
