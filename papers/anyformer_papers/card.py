"""A card: the facts of a paper's place in the library, and prose about it.

A card is a folder. ``card.md`` has its facts in front, as YAML between two lines of dashes, and prose behind::

    ---
    parts: [mixer retention, model retnet]
    followed: paper
    ---

    # RetNet

    What it contributes, in a sentence or two.

    ## How it differs
    ## What is followed here
    ## Claim

``identities.py`` holds what proves it (:mod:`anyformer_papers.identity`) and its study, if it has one;
``records.jsonl`` what the study found.
"""

from __future__ import annotations

import functools
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

if TYPE_CHECKING:
    from anyformer_papers.identity import Checked, Identity
    from anyformer_papers.study import Study

HERE = Path(__file__).parent
CARDS = HERE / "cards"

Followed = Literal["paper", "code", "reconstruction"]
BeyondReach = Literal["human", "hardware", "weights", "scale"]
Part = Annotated[str, StringConstraints(pattern=r"^([a-z]+ \S+|[\w.]+:\w+)$")]
SECTIONS = {"how it differs": "differs", "what is followed here": "notes", "claim": "claim"}


class Facts(BaseModel):
    """Front matter of a card.

    Attributes:
        parts: what the paper is made of here: a kind and an id, as ``mixer retention``, ``channel moe``,
            ``wrapper order``, ``residual ladder``, ``norm prep_bn``, ``activation rational``, ``position rope``,
            ``model retnet``, ``op linear_attention``, ``task recall``, or ``module:attribute`` below ``anyformer``. No
            other place says it: :func:`anyformer_papers.parts.papers_with` is an index of these.
        followed: what was checked against: the paper's text, its code, or neither (a reconstruction).
        beyond_reach: why the claim cannot be tested here: it is about people, hardware, pretrained weights, or scale
            itself; None where it can. A study beside it is then a proxy: it tests a statement near the paper's claim.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: tuple[Part, ...]
    followed: Followed
    beyond_reach: BeyondReach | None = None


@dataclass(frozen=True)
class Card:
    """One paper.

    Attributes:
        folder: where it is.
        name: its heading, the paper's name in the catalogue.
        what: what it contributes, in a sentence or two.
        differs: how it differs from its neighbours, best in one term.
        notes: where the paper, its code and common knowledge disagree, and which one is followed.
        claim: the paper's claim in a sentence, with its figure; "" where it makes none that can be tested. What the
            study tests comes first: an order that the paper states, of a mechanism against its alternative. Figures
            of the paper's own scale, which no small study can give, come after it.
    """

    folder: Path
    facts: Facts
    name: str
    what: str
    differs: str
    notes: str = ""
    claim: str = ""

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Read a card from its folder.

        Raises:
            ValueError: where ``card.md`` lacks its facts, its heading or a section, or has others than these.
        """
        file = folder / "card.md"
        found = re.fullmatch(r"---\n(.*?)\n---\n+# (.+?)\n(.*)", file.read_text(encoding="utf-8"), re.DOTALL)
        if found is None:
            raise ValueError(f"{file} must have facts between two lines of dashes, and behind them a heading")
        try:
            facts = Facts.model_validate(yaml.safe_load(found[1]))
        except (yaml.YAMLError, ValidationError) as error:
            raise ValueError(f"{file}: {error}") from None
        what, *sections = re.split(r"^## ", found[3], flags=re.MULTILINE)
        words = {}
        for section in sections:
            heading, _, text = section.partition("\n")
            if heading.lower() not in SECTIONS:
                raise ValueError(f"{file} has a section {heading!r}; known: {', '.join(SECTIONS)}")
            words[SECTIONS[heading.lower()]] = _unwrapped(text)
        if not _unwrapped(what) or "differs" not in words:
            raise ValueError(f"{file} must say what the paper contributes, and how it differs")
        return cls(folder, facts, found[2], _unwrapped(what), **words)

    @property
    def identities(self) -> list[Identity]:
        """Identities in its ``identities.py``, in the order of the file."""
        from anyformer_papers.identity import Identity

        return [value for value in vars(_module(self.folder)).values() if isinstance(value, Identity)]

    @property
    def study(self) -> Study | None:
        """Comparison that tests the claim at a small scale, or None where there is none."""
        found: Study | None = getattr(_module(self.folder), "study", None)
        return found

    def check(self) -> list[Checked]:
        """Run every identity, under a fixed seed."""
        return [identity.run() for identity in self.identities]


def _unwrapped(text: str) -> str:
    """Return prose without the file's line breaks."""
    return " ".join(text.split())


@functools.cache
def _module(folder: Path) -> ModuleType:
    return importlib.import_module(
        ".".join(("anyformer_papers", *folder.relative_to(HERE).parts, "identities"))
    )
