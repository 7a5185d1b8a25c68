"""The bibliography: its facts, its cards, and the rule by which a paper works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.compare.prepare import plan_candidate
from anyformer.tasks import create_task
from anyformer_papers import Paper, catalogue, find_paper, papers_of
from anyformer_papers.card import Card, Checked, Outcome, PeerMissing, part_exists, peer
from anyformer_papers.catalogue import CARDS
from anyformer_papers.proofs import identities, keep
from anyformer_papers.status import status_of

BUILT = [paper for paper in catalogue() if paper.has_card]


def test_the_catalogue_is_whole() -> None:
    papers = catalogue()
    assert len(papers) == 409 == len({p.slug for p in papers}) == len({p.id for p in papers})
    for paper in papers:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", paper.slug)
        assert paper.title and paper.first_author and 1990 < paper.year < 2027


def test_every_card_belongs_to_a_paper() -> None:
    folders = {p.parent for p in CARDS.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert folders == {paper.folder for paper in BUILT}


@pytest.mark.parametrize("paper", BUILT, ids=lambda paper: paper.slug)
def test_card(paper: Paper) -> None:
    card = paper.card()
    assert card.missing_parts() == [] and card.parts
    assert card.what and card.differs
    assert card.claim or card.study is None, "a study tests a claim that is written down"
    assert (paper.folder / "identities.py").read_text(encoding="utf-8").count("\n") <= 160, (
        "a card is about a screen"
    )
    if card.study is not None:
        task = create_task(card.study.task, **card.study.options)
        for name, spec in card.study.specs().items():  # every arm can do the task, at the size of the others
            assert not plan_candidate(task, name, name, spec, card.study.parameters, None).problem
    results = card.check()
    keep(paper.slug, results)
    assert results, "at least one identity"
    assert not [r for r in results if r.outcome == "broken"]
    assert sum(r.seconds for r in results) < 60, "identities run in seconds"


def test_finding_papers() -> None:
    assert find_paper("retnet") == find_paper("353") == find_paper("2307.08621")
    with pytest.raises(ValueError, match="unknown paper 'retnett'; did you mean 'retnet'"):
        find_paper("retnett")
    assert len(papers_of("attention-linear")) == 9
    with pytest.raises(ValueError, match="unknown family 'attention-liner'.*'attention-linear'"):
        papers_of("attention-liner")


def test_a_broken_identity_and_a_missing_part_show() -> None:
    card = Card("retnet", "what", ("mixer retention", "mixer nothing"), "differs", "paper")

    @card.exact("one is two")
    def false() -> None:
        raise AssertionError("it is not")

    @card.exact("needs a peer")
    def needs() -> None:
        peer("no_such_library.part")

    broken, skipped = card.check()
    assert broken.outcome == "broken" and "it is not" in broken.detail
    assert skipped.outcome == "skipped" and "no_such_library" in skipped.detail
    assert card.missing_parts() == ["mixer nothing"]
    assert part_exists("compare.judge:contrasts") and not part_exists("compare.judge:nothing")
    with pytest.raises(ValueError, match="a part is named by one of"):
        part_exists("mixr retention")
    with pytest.raises(PeerMissing):
        peer("no_such_library")


def test_a_paper_without_a_card_is_not_built() -> None:
    paper = next(p for p in catalogue() if not p.has_card)
    assert not status_of(paper).built and not status_of(paper).works
    with pytest.raises(ValueError, match="is not built yet"):
        paper.card()


def checked(*outcomes: Outcome) -> list[Checked]:
    return [Checked(f"identity {i}", outcome, "", 0.1) for i, outcome in enumerate(outcomes)]


def test_a_paper_works_only_where_its_identities_hold_on_this_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYFORMER_CACHE", str(tmp_path))
    paper = next(p for p in BUILT if status_of(p).claim in ("reproduced", "none", "beyond reach"))
    assert identities(paper.slug) == "unchecked" and not status_of(paper).works
    keep(paper.slug, checked("holds", "skipped"))
    assert status_of(paper).works
    keep(paper.slug, checked("holds", "broken"))
    assert status_of(paper).identities == "broken" and not status_of(paper).works
    for outcomes in ((), ("skipped",)):
        keep(paper.slug, checked(*outcomes))
        assert not status_of(paper).works
    keep(paper.slug, checked("holds"))
    monkeypatch.setattr("anyformer_papers.proofs._code", lambda: "other")
    assert identities(paper.slug) == "unchecked"
    keep(paper.slug, checked("holds"))
    assert [p.name for p in (tmp_path / "anyformer").iterdir()] == ["identities-other"]
    next(tmp_path.rglob(f"{paper.slug}.json")).write_text("[")
    assert identities(paper.slug) == "unchecked"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["papers", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_commands() -> None:
    found = json.loads(run("status", "--json"))["papers"]
    assert len(found) == 409
    keys = {"id", "slug", "title", "family", "parts", "built", "identities", "claim", "proxy", "works"}
    assert set(found[0]) == keys
    assert all(p["proxy"] == "" or p["claim"] == "beyond reach" for p in found)
    assert sum(p["built"] for p in found) == len(BUILT)
    assert "409 known" in run("status")
    assert "retnet" in run("list", "retentive") and "9 papers" in run("list", "--family", "attention-linear")
    assert "proved by" in run("show", "retnet") and "not built yet" in run("show", "informer")
    assert "0 broken" in run("check", "retnet", "--workers", "1")
    assert CliRunner().invoke(app, ["papers", "check"]).exit_code == 2
