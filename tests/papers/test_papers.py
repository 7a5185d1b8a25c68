"""The bibliography: its facts, its cards, and the rule by which a paper works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import anyformer
import anyformer_papers.identity
from anyformer.cli import app
from anyformer.compare.plan.sizes import plan_candidate
from anyformer.laws import LawBroken
from anyformer.tasks import create_task
from anyformer_papers import Paper, catalogue, find_paper, papers_of, proofs
from anyformer_papers.card import CARDS, Card
from anyformer_papers.identity import Checked, Identity, Outcome, PeerMissing, equals_encoder_decoder, peer
from anyformer_papers.parts import missing_parts, papers_with, part_exists
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
    files = [p for p in CARDS.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert {p.parent for p in files} == {paper.folder for paper in BUILT}
    assert {p.name for p in files} == {"card.md", "identities.py", "records.jsonl"}


@pytest.mark.parametrize("paper", BUILT, ids=lambda paper: paper.slug)
def test_card(paper: Paper) -> None:
    card = paper.card()
    assert missing_parts(card.facts.parts) == [] and card.facts.parts
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
    def false() -> None:
        raise AssertionError("it is not")

    broken, skipped = (
        Identity(words, check).run()
        for words, check in (("one is two", false), ("needs a peer", lambda: peer("no_such_library.part")))
    )
    assert broken.outcome == "broken" and "it is not" in broken.detail
    assert skipped.outcome == "skipped" and "no_such_library" in skipped.detail
    assert missing_parts(("mixer retention", "mixer nothing")) == ["mixer nothing"]
    assert part_exists("compare.verdict.judge:judge") and not part_exists("compare.verdict.judge:nothing")
    with pytest.raises(ValueError, match="a part is named by one of"):
        part_exists("mixr retention")
    with pytest.raises(PeerMissing):
        peer("no_such_library")


def test_a_converted_encoder_decoder_that_differs_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    hf = pytest.importorskip("transformers")
    sizes = {
        "d_model": 8,
        "encoder_ffn_dim": 8,
        "decoder_ffn_dim": 8,
        "block_size": 4,
        "num_global_tokens": 2,
    }
    heads = {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
    }
    theirs = hf.PegasusXForConditionalGeneration(hf.PegasusXConfig(vocab_size=31, **sizes, **heads))
    equals_encoder_decoder(theirs, 10, 6)
    convert = anyformer_papers.identity.from_hf
    monkeypatch.setattr(
        anyformer_papers.identity,
        "from_hf",
        lambda model: lambda source, target, mask: convert(model)(source, target, torch.ones_like(mask)),
    )
    with pytest.raises(LawBroken, match="logits of 10 tokens: off by"):
        equals_encoder_decoder(theirs, 10, 6)


CARD = """---
parts: [mixer retention, convert.marian:from_marian]
followed: code
beyond_reach: scale
---

# A paper

What it is,
in two lines.

## How it differs

In one term.
"""


def written(folder: Path, text: str) -> Card:
    (folder / "card.md").write_text(text, encoding="utf-8")
    return Card.read(folder)


def test_a_card_is_facts_and_prose(tmp_path: Path) -> None:
    card = written(tmp_path, CARD)
    assert card.facts.parts == ("mixer retention", "convert.marian:from_marian")
    assert (card.facts.followed, card.facts.beyond_reach, card.name) == ("code", "scale", "A paper")
    assert (card.what, card.differs) == ("What it is, in two lines.", "In one term.")
    assert (card.notes, card.claim) == ("", "")
    both = written(
        tmp_path, CARD + "\n## What is followed here\n\nThe code.\n\n## Claim\n\nIt is *better*.\n"
    )
    assert (both.differs, both.notes, both.claim) == ("In one term.", "The code.", "It is *better*.")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("# A paper", "A paper", "must have facts .* and behind them a heading"),
        ("followed: code", "followed: hearsay", "followed"),
        ("followed: code", "followd: code", "followd"),
        ("followed: code", "followed: [", "card.md: while parsing"),
        ("mixer retention,", "mixer,", "parts"),
        ("## How it differs", "## How it difers", "a section 'How it difers'; known: how it differs"),
        ("What it is,\nin two lines.", "", "must say what the paper contributes"),
        ("## How it differs", "### How it differs", "and how it differs"),
    ],
)
def test_a_card_that_is_not_whole_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path, CARD.replace(old, new))


def test_papers_of_a_part_are_those_whose_cards_name_it() -> None:
    assert "retnet" in papers_with("mixer retention") and papers_with("mixer nothing") == ()
    made_of = {paper.slug: paper.card().facts.parts for paper in BUILT}
    for part in {part for parts in made_of.values() for part in parts}:
        assert set(papers_with(part)) == {slug for slug, parts in made_of.items() if part in parts}


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


def test_results_belong_to_the_code_of_the_library_and_of_the_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in (anyformer, anyformer_papers):
        folder = tmp_path / package.__name__
        folder.mkdir()
        for name in ("__init__.py", "kernel.c", "records.jsonl"):
            (folder / name).write_text("")
        monkeypatch.setattr(package, "__file__", str(folder / "__init__.py"))
    code = proofs._code.__wrapped__
    before = code()
    for path in tmp_path.rglob("*.*"):
        path.write_text("changed")
        assert (code() == before) == (path.suffix == ".jsonl"), path
        path.write_text("")


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
    assert "retnet" in run("list", "--part", "mixer retention") and "mamba" not in run(
        "list", "--part", "model retnet"
    )
    assert CliRunner().invoke(app, ["papers", "list", "--part", "mixer retnetion"]).exit_code == 2
    assert "proved by" in run("show", "retnet") and "not built yet" in run("show", "informer")
    assert "0 broken" in run("check", "retnet", "--workers", "1")
    assert CliRunner().invoke(app, ["papers", "check"]).exit_code == 2
