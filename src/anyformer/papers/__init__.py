"""The executable bibliography: every paper of the field that the library covers, and what proves it here.

>>> from anyformer.papers import find_paper
>>> find_paper("retnet").card().check()

A paper is a row of ``catalogue.json``; it is built when its card exists, ``papers/<family>/<slug>.py``.
"""

from __future__ import annotations

import functools
import importlib
import json
from dataclasses import dataclass
from pathlib import Path

from anyformer.papers.card import Card
from anyformer.papers.study import Arm, Record, Study
from anyformer.registry import nearest

__all__ = ["Arm", "Card", "Paper", "Record", "Study", "catalogue", "find_paper", "papers_of"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Paper:
    """One row: the facts of a paper.

    Attributes:
        id: the row's number.
        slug: its name in ``papers=[...]`` of the registries and on the command line.
        arxiv: its number there, "" where it has none.
        arxiv_checked: whether that number was looked up, and not only remembered.
    """

    id: int
    slug: str
    title: str
    name: str
    first_author: str
    year: int
    arxiv: str
    family: str
    kind: str
    arxiv_checked: bool

    @property
    def module(self) -> str:
        """Where its card is, or would be."""
        return f"{self.family}.{self.slug}".replace("-", "_")

    @property
    def has_card(self) -> bool:
        """Whether its card exists."""
        return self.path(".py").exists()

    def path(self, suffix: str) -> Path:
        """A file of this paper, beside its card."""
        folder, _, stem = self.module.partition(".")
        return FOLDER / folder / f"{stem}{suffix}"

    def card(self) -> Card:
        """Its card.

        Raises:
            ValueError: where it is not built yet.
        """
        if not self.has_card:
            raise ValueError(f"{self.slug!r} ({self.title}) is not built yet")
        card = importlib.import_module(f"anyformer.papers.{self.module}").card
        assert isinstance(card, Card) and card.slug == self.slug, f"{self.path('.py')} holds another card"
        return card

    def records(self) -> list[Record]:
        """What its study found, oldest first; only such records as are of the study as it is now."""
        study = self.card().study if self.has_card else None
        return [] if study is None else study.records(self.path(".jsonl"))


@functools.cache
def catalogue() -> tuple[Paper, ...]:
    """All papers, by id."""
    rows = json.loads((FOLDER / "catalogue.json").read_text(encoding="utf-8"))
    return tuple(Paper(**{**row, "arxiv": row["arxiv"] or ""}) for row in rows)


def find_paper(name: str) -> Paper:
    """A paper by its slug, its id, or its arXiv number.

    Raises:
        ValueError: where there is none, with the nearest slugs.
    """
    for paper in catalogue():
        if name in (paper.slug, str(paper.id), paper.arxiv):
            return paper
    raise ValueError(f"unknown paper {name!r}{nearest(name, [paper.slug for paper in catalogue()])}")


def papers_of(family: str) -> list[Paper]:
    """The papers of a family, by id.

    Raises:
        ValueError: where there is no such family, with the nearest ones.
    """
    found = [paper for paper in catalogue() if paper.family == family]
    if not found:
        raise ValueError(
            f"unknown family {family!r}{nearest(family, sorted({p.family for p in catalogue()}))}"
        )
    return found
