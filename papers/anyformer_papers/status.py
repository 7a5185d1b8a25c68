"""The one rule by which a paper is built, and works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyformer_papers import Paper
from anyformer_papers.parts import missing_parts
from anyformer_papers.proofs import Identities, identities
from anyformer_papers.study import ANSWERS, StudyRecord


@dataclass(frozen=True)
class PaperStatus:
    """State of a paper.

    Attributes:
        built: True if its card, all the card's parts and at least one identity exist.
        identities: state of its identities on this code, see :func:`anyformer_papers.proofs.identities`.
        claim: the verdict of the last record of its study; ``none`` where it makes no claim, ``not run``, ``stale``
            where only records of an earlier version of the study exist, or ``beyond reach``.
        proxy: the verdict on a study beside a claim that is beyond reach, in the same words; "" where there is none.
    """

    paper: Paper
    built: bool
    claim: str
    parts: tuple[str, ...] = ()
    last: StudyRecord | None = None
    proxy: str = ""
    identities: Identities = "unchecked"

    @property
    def works(self) -> bool:
        """True if it is built, its identities hold, and its claim is answered, beyond reach or not made."""
        return self.built and self.identities == "hold" and self.claim in (*ANSWERS, "none", "beyond reach")

    def as_json(self) -> dict[str, Any]:
        """Return its entry in ``anyformer papers status --json``."""
        paper = self.paper
        return {
            "id": paper.id,
            "slug": paper.slug,
            "title": paper.title,
            "family": paper.family,
            "parts": list(self.parts),
            "built": self.built,
            "identities": self.identities,
            "claim": self.claim,
            "proxy": self.proxy,
            "works": self.works,
        }


def status_of(paper: Paper) -> PaperStatus:
    """Return the state of a paper."""
    if not paper.has_card:
        return PaperStatus(paper, False, "not run")
    card = paper.card()
    records = paper.records()
    built = bool(card.identities) and bool(card.facts.parts) and not missing_parts(card.facts.parts)
    claim, proxy = _evidence(paper, records), ""
    if card.facts.beyond_reach is not None:  # its study is a proxy, which is counted apart
        claim, proxy = "beyond reach", "" if card.study is None else claim
    last = records[-1] if records else None
    return PaperStatus(paper, built, claim, card.facts.parts, last, proxy, identities(paper.slug))


def _evidence(paper: Paper, records: list[StudyRecord]) -> str:
    """Return the verdict on the card's study, or the reason why there is none."""
    card = paper.card()
    if records:
        return records[-1].verdict
    if card.study is None:
        return "not run" if card.claim else "none"
    return "stale" if card.study.records(paper.records_file, stale=True) else "not run"
