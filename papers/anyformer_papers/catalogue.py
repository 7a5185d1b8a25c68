"""The rows of ``catalogue.json``, and where each one's card is."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyformer.registry import nearest
from anyformer_papers.card import CARDS, HERE, Card

if TYPE_CHECKING:
    from anyformer_papers.study import StudyRecord


@dataclass(frozen=True)
class Paper:
    """One row: the facts of a paper.

    Attributes:
        id: the row's number.
        slug: its name on the command line, and of its folder.
        arxiv: its number there, "" where it has none.
        arxiv_checked: True if that number was looked up, False if it was written down from memory.
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
    def folder(self) -> Path:
        """Folder of its card, whether or not there is one yet."""
        return CARDS / self.family.replace("-", "_") / self.slug.replace("-", "_")

    @property
    def has_card(self) -> bool:
        """True if its card exists."""
        return (self.folder / "card.md").exists()

    @property
    def records_file(self) -> Path:
        """File to which the records of its study are appended, one a line."""
        return self.folder / "records.jsonl"

    def card(self) -> Card:
        """Read its card.

        Raises:
            ValueError: if it has none yet, or one that is not well formed.
        """
        if not self.has_card:
            raise ValueError(f"{self.slug!r} ({self.title}) is not built yet")
        return Card.read(self.folder)

    def records(self) -> list[StudyRecord]:
        """Read the records of its study as it is now, oldest first; records of earlier versions are left out."""
        study = self.card().study if self.has_card else None
        return [] if study is None else study.records(self.records_file)


@functools.cache
def catalogue() -> tuple[Paper, ...]:
    """Return all papers, by id."""
    rows = json.loads((HERE / "catalogue.json").read_text(encoding="utf-8"))
    return tuple(Paper(**{**row, "arxiv": row["arxiv"] or ""}) for row in rows)


def find_paper(name: str) -> Paper:
    """Find a paper by its slug, its id or its arXiv number.

    Raises:
        ValueError: if there is none; the message names the nearest slugs.
    """
    for paper in catalogue():
        if name in (paper.slug, str(paper.id), paper.arxiv):
            return paper
    raise ValueError(f"unknown paper {name!r}{nearest(name, [paper.slug for paper in catalogue()])}")


def papers_of(family: str) -> list[Paper]:
    """Return the papers of a family, by id.

    Raises:
        ValueError: if there is no such family; the message names the nearest ones.
    """
    found = [paper for paper in catalogue() if paper.family == family]
    if not found:
        raise ValueError(
            f"unknown family {family!r}{nearest(family, sorted({p.family for p in catalogue()}))}"
        )
    return found
