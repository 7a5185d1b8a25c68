"""Outcomes of identities, saved for exactly the code that they were checked on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import anyformer
import anyformer_papers
from anyformer.files import write_atomically
from anyformer_papers.identity import Checked, Outcome

Identities = Literal["hold", "broken", "unchecked"]


def keep(slug: str, results: Sequence[Checked]) -> None:
    """Save the outcomes of a paper's identities, and delete all outcomes of other versions of the code."""
    home = _home()
    for other in home.parent.glob("identities-*"):
        if other != home:
            shutil.rmtree(other, ignore_errors=True)
    write_atomically(home / f"{slug}.json", json.dumps({r.identity: r.outcome for r in results}, indent=1))


def identities(slug: str) -> Identities:
    """Read what is saved for exactly this code: ``hold`` if no identity is broken and not all were skipped."""
    try:
        found: Mapping[str, Outcome] = json.loads((_home() / f"{slug}.json").read_text(encoding="utf-8"))
        outcomes = list(found.values())
    except (OSError, ValueError, AttributeError):
        return "unchecked"
    if "broken" in outcomes or not outcomes:
        return "broken"
    return "hold" if "holds" in outcomes else "unchecked"


def _home() -> Path:
    """Return the folder of the outcomes on this code, in ``ANYFORMER_CACHE`` or the user's cache."""
    caches = os.environ.get("ANYFORMER_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    )
    return Path(caches) / "anyformer" / f"identities-{_code()}"


@cache
def _code() -> str:
    """Hash every source file of the library and of the papers, kernels included; records are not code."""
    digest = hashlib.sha256()
    for package in (anyformer, anyformer_papers):
        root = Path(str(package.__file__)).parent
        for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".c", ".h")):
            name = path.relative_to(root.parent).as_posix()
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
