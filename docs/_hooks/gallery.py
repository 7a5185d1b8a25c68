"""Writes the gallery page from the registries while the site is built, so that it can't fall behind them."""

from __future__ import annotations

import inspect
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

INTRO = """# Gallery

Every part that is registered, read from the registry when this page was built. Each is an ordinary
`torch.nn.Module`, made by name: `anyformer.create_mixer("retention", dim=256)`.

**Reach** is how far a token looks (past, future): *all* is unlimited, 0 is none. **Cost** is how the time of
a forward pass grows with the length, **state** how what is carried from token to token grows while streaming.
An *excused law* is one that the part is known to break, with the reason; `anyformer check` fails if an
excused law holds after all.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs hook: add gallery.md."""
    files.append(File.generated(config, "gallery.md", content=render()))
    return files


def render() -> str:
    """The page as markdown."""
    import anyformer

    parts = [INTRO]
    parts.append("## Token mixers\n")
    parts.append(_mixer_table(anyformer.list_mixers(), anyformer.mixer_info))
    return "\n".join(parts)


def _mixer_table(names: list[str], info_of: Any) -> str:
    rows = ["| Name | What it is | Reach | Cost | State | Papers |", "|---|---|---|---|---|---|"]
    for name in names:
        info = info_of(name)
        rows.append(
            f"| `{name}` | {_summary(name)} | {_reach(info.reach)} | {info.cost} | {info.state} "
            f"| {', '.join(info.papers)} |"
        )
    return "\n".join(rows) + "\n"


def _summary(name: str) -> str:
    import anyformer

    lines = (inspect.getdoc(anyformer.mixer_class(name)) or "").splitlines()
    return lines[0].replace("|", "\\|") if lines else ""


def _reach(reach: tuple[int | None, int | None]) -> str:
    return ", ".join("all" if side is None else str(side) for side in reach)
