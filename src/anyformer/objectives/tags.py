"""The objective of tags: a class for each word."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from anyformer.objectives.discrete import NextToken
from anyformer.questions import Question


@dataclass(frozen=True)
class Tags(NextToken):
    """Cross-entropy of a tag for each word, in nats.

    Outputs are ``(B, T, vocab_size)``, one for each tag; targets ``(B, T)`` int64, ``IGNORED`` (-100) where no word
    ends. A tag may depend on words behind its own.
    """

    names: tuple[str, ...] = ()
    name: str = field(default="tags", init=False)

    @property
    def question(self) -> Question:
        """A tag of each word, by name."""
        return replace(super().question, names=self.names)
