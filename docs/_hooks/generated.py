"""Writes the gallery, the table of laws and the commands from the code while the site is built."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from anyformer.channels import channels
from anyformer.cli import app
from anyformer.contract import Mixer, MixerInfo
from anyformer.embed import embedders
from anyformer.laws import EMBEDDER_LAWS, HEAD_LAWS, LAWS, MODEL_LAWS, TASK_LAWS, Laws
from anyformer.mixers import families, mixers
from anyformer.models import models
from anyformer.ops import load_all
from anyformer.parts import part_info
from anyformer.positions import positions
from anyformer.registry import Registry
from anyformer.tasks import Task, labelled
from anyformer.tasks.forecast_candidates import ALONE, SEVERAL, WHY_ALONE, WHY_SEVERAL
from anyformer.tasks.graphs.task import GraphTask
from anyformer.tasks.images import ImageTask
from anyformer.tasks.next_item import NextItemTask
from anyformer.tasks.pairs import PairTask
from anyformer.tasks.text import ByteTask
from anyformer.wrappers import wrappers
from anyformer_papers import Paper, catalogue
from anyformer_papers.parts import papers_with
from anyformer_papers.status import PaperStatus, status_of

INTRO = """---
hide: [toc]
---

# Gallery

Every part that is registered, read from the registries when this page was built. Each is an ordinary
`torch.nn.Module`, made by its name: `anyformer.create_mixer("retention", dim=256)`.
"""

MIXERS = """## Token mixers

**Forms**: *causal* streams token by token, *bidirectional* sees the whole sequence (`causal=False`). **Time** is how
a forward pass grows with the length n, **state** how what is carried from token to token grows while streaming. Both
are under the mixer's default options; `anyformer.mixer_info(name, **options)` tells them for others.
"""

CHANNELS = """## Channel mixers

They reach no other token: the feed-forward part of a layer, `channel=` in a spec.
"""

WRAPPERS = """## Wrappers

They hold whole stacks of layers, and are written like a mixer in a spec: `mixture_of_depths([attention*2])`.
"""

POSITIONS = """## Positions

How order enters, `positions=` in a spec.
"""

EMBEDDERS = """## Embedders

How fields become vectors, `embed=` in a spec; where it is left out or `default`, the shape of the inputs decides. All
have the options `normed` and `scaled`, as tokens and numbers have: `embed=default(normed=true)`.
"""

MODELS = """## Named models

Each is a function from its options, such as `depth`, to a spec: `anyformer compare --models "mamba depth=6"`.
"""

COMMANDS = """# Commands

Each command is a thin layer over the Python API. A mistake in the arguments or in the data ends in one message and
exit code 2.
"""

FOLLOWED = {
    "paper": "paper's text",
    "code": "authors' code",
    "reconstruction": "idea alone: a reconstruction",
}

EXCUSED = """## Excused laws

What a part is known not to do, with the reason. `anyformer check` fails where an excused law holds after all.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs hook: add the pages that are nowhere written by hand."""
    files.append(File.generated(config, "gallery.md", content=render()))
    files.append(File.generated(config, "cli.md", content=render_commands()))
    for paper in catalogue():
        if paper.has_card:
            files.append(File.generated(config, f"papers/{paper.slug}.md", content=render_card(paper)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """mkdocs hook: put tables where a page asks for them by a comment."""
    tables = {"positions": positions, "channels": channels, "wrappers": wrappers}
    markdown = markdown.replace("<!-- laws -->", _laws(LAWS))
    markdown = markdown.replace("<!-- laws over whole models -->", _laws(MODEL_LAWS))
    markdown = markdown.replace("<!-- laws over embedders -->", _laws(EMBEDDER_LAWS))
    markdown = markdown.replace("<!-- laws over heads -->", _laws(HEAD_LAWS))
    markdown = markdown.replace("<!-- laws over data -->", _laws(TASK_LAWS))
    markdown = markdown.replace("<!-- paths -->", _paths())
    markdown = markdown.replace("<!-- default candidates -->", _candidates())
    markdown = markdown.replace("<!-- families -->", "\n".join(_whole_family(name) for name in families()))
    if "<!-- papers -->" in markdown:
        markdown = markdown.replace("<!-- papers -->", _papers())
    if "<!-- map -->" in markdown:
        markdown = markdown.replace("<!-- map -->", _map())
    markdown = re.sub(r"<!-- family ([\w-]+) -->", lambda m: _family(m[1]), markdown)
    return re.sub(r"<!-- registry (\w+) -->", lambda m: _plain_table(tables[m[1]]), markdown)


def _of(candidates: tuple[str, ...], why: str) -> SimpleNamespace:
    return SimpleNamespace(candidates=candidates, why=why)


def _candidates() -> str:
    """The models that are compared by default, and the reason, for each kind of data."""
    kinds: dict[str, Any] = {
        "texts to continue": ByteTask,
        "texts to rewrite": PairTask,
        "one series to forecast": _of(ALONE, WHY_ALONE),
        "several series or columns to forecast": _of(SEVERAL, WHY_SEVERAL),
        "rows of columns with labels": _of(labelled.RECORDS, labelled.WHY_RECORDS),
        "series with labels": _of(labelled.SERIES, labelled.WHY_SERIES),
        f"such series of {labelled.LONG} steps and more": _of(labelled.LONG_SERIES, labelled.WHY_LONG),
        "such series of fewer than 9 steps, or with categories": _of(labelled.STEPS, labelled.WHY_STEPS),
        "images": ImageTask,
        "graphs": GraphTask,
        "ratings and clicks": NextItemTask,
        "all else": Task,
    }
    rows = [
        [name, ", ".join(f"`{one}`" for one in kind.candidates), kind.why] for name, kind in kinds.items()
    ]
    return _table(["Data", "Compared by default", "Because"], rows)


def _paths() -> str:
    """The ways to compute each op, in order of preference."""
    rows = ["| op | paths, the first that takes the arguments |", "|---|---|"]
    for name, primitive in load_all().items():
        ways = "; ".join(f"*{path.name}*: {path.what}" for path in primitive.paths)
        rows.append(f"| `{name}` | {ways} |")
    return "\n".join(rows)


def _map() -> str:
    """Mixers by family, with the mean, the lowest and the highest score of their seeds on each task of the map."""
    tasks = json.loads((Path(__file__).parents[1] / "studies" / "map.json").read_text(encoding="utf-8"))[
        "tasks"
    ]
    head = ["Mixer", *(f"{name}, {task['metric']}" for name, task in tasks.items())]
    marks = {name: _best(task) for name, task in tasks.items()}
    rows = []
    for family in families().values():
        tried = [id for id in family.mixers if any(id in task["candidates"] for task in tasks.values())]
        rows += [[f"**{family.title}**", *("" for _ in tasks)]] if tried else []
        rows += [
            [f"`{id}`", *(_scored(task["candidates"].get(id), marks[name]) for name, task in tasks.items())]
            for id in tried
        ]
    references = {name: _references(task) for name, task in tasks.items()}
    rows.append(["*best reference*", *(references[name] for name in tasks)])
    return _table(head, rows)


def _best(task: dict[str, Any]) -> float:
    means = [statistics.mean(c["scores"]) for c in task["candidates"].values() if c["scores"]]
    return max(means) if task["higher_is_better"] else min(means)


def _scored(candidate: dict[str, Any] | None, best: float) -> str:
    if candidate is None or not candidate["scores"]:
        return "–"
    scores = candidate["scores"]
    mean = statistics.mean(scores)
    words = f"**{mean:.3f}**" if mean == best else f"{mean:.3f}"
    return f"{words} ({min(scores):.2f} to {max(scores):.2f})"


def _references(task: dict[str, Any]) -> str:
    pick = max if task["higher_is_better"] else min
    name, score = pick(task["references"].items(), key=lambda item: item[1])
    return f"*{score:.3f}, {name}*"


def _papers() -> str:
    """The built papers by family, with what became of their claims."""
    built = [status for paper in catalogue() if (status := status_of(paper)).built]
    sections = []
    for family in sorted({status.paper.family for status in built}):
        rows = [
            [
                f"[`{s.paper.slug}`](papers/{s.paper.slug}.md)",
                f"{s.paper.title} ({s.paper.first_author} {s.paper.year})",
                _stands(s),
            ]
            for s in sorted((s for s in built if s.paper.family == family), key=lambda s: s.paper.year)
        ]
        sections.append(f"## {family}\n{_table(['Slug', 'Paper', 'Claim'], rows)}")
    return "\n".join(sections)


def render_card(paper: Paper) -> str:
    """A card as a page: its prose, its parts, the identities that prove it, and where its claim stands."""
    card, status = paper.card(), status_of(paper)
    where = f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else "not on arXiv"
    sections = {
        "How it differs": card.differs,
        "What is followed here": f"The {FOLLOWED[card.facts.followed]}. {card.notes}".strip(),
        "Claim": card.claim or "None that can be tested.",
        "Evidence": _stands(status),
        "Made of": "".join(f"- `{part}`\n" for part in card.facts.parts),
        "Proved by": "".join(f"- {identity.words}\n" for identity in card.identities),
    }
    head = f"# {card.name}\n\n*{paper.title}*, {paper.first_author} {paper.year}, {where}.\n\n{card.what}\n"
    return head + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items())


def _stands(status: PaperStatus) -> str:
    proxy = f"; proxy {status.proxy}" if status.proxy else ""
    words = f": {status.last.words}" if status.last else ""
    return f"{status.claim}{proxy}{words}"


def _whole_family(name: str) -> str:
    return f"### {families()[name].title}\n\n[Explained in one notation]({name}.md)\n{_family(name)}"


def _family(name: str) -> str:
    """What the mixers of a family cost and can do."""
    head = ["Name", "What it is", "Forms", "Time", "Memory", "State", "Reaches", "At most", "Papers"]
    return _table(head, [_cost_row(id) for id in families()[name].mixers])


def _cost_row(name: str) -> list[str]:
    entry, words, info = _facts(name)
    longest = "" if info.max_length is None else f"{info.max_length:,}"
    back, ahead = ("all" if side is None else str(side) for side in info.reach)
    reaches = back if ahead == "0" else f"{back}, {ahead}"
    growths = [info.cost, info.memory, info.state]
    return [
        f"`{name}`",
        entry.summary,
        ", ".join(words),
        *growths,
        reaches,
        longest,
        ", ".join(papers_with(f"mixer {name}")),
    ]


def _plain_table(registry: Registry) -> str:
    return _table(["Name", "What it is", "Papers"], _plain_rows(registry))


def _laws(laws: Laws[Any]) -> str:
    rows = [[f"*{law.id}*", law.words, f"`{law.subject}.py`"] for law in laws.values()]
    return _table(["Law", "What it says", "In"], rows)


def render() -> str:
    """The page as markdown."""
    rows = [_mixer_row(name) for name in mixers.ids()]
    sections = [
        INTRO,
        MIXERS + _table(["Name", "What it is", "Forms", "Time", "State", "Papers"], rows),
        CHANNELS + _plain_table(channels),
        WRAPPERS + _plain_table(wrappers),
        POSITIONS + _plain_table(positions),
        EMBEDDERS + _plain_table(embedders),
        MODELS + _plain_table(models),
    ]
    excused = _excused(mixers) + _excused(channels)
    if excused:
        sections.append(EXCUSED + _table(["Part", "Law", "Reason"], excused))
    return "\n".join(sections)


def render_commands() -> str:
    """The page of commands."""
    sections = [COMMANDS]
    for name, command in _commands(typer.main.get_command(app)):
        usage = " ".join(command.collect_usage_pieces(typer.Context(command)))
        parameters = [p for p in command.params if p.name != "help"]
        rows = [[f"`{_name(p)}`", p.help or "", _default(p)] for p in parameters]
        sections.append(f"## {name}\n\n{command.help or ''}\n\n```text\nanyformer {name} {usage}\n```\n")
        sections.append(_table(["Argument", "Meaning", "Default"], rows) if rows else "")
    return "\n".join(sections)


def _commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, those of groups included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above}{name} ")
        else:
            yield above + name, command


def _name(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    return str(parameter.name).upper() if is_argument else ", ".join(parameter.opts)


def _default(parameter: Any) -> str:
    return "" if parameter.default in (None, False, (), []) else f"`{parameter.default}`"


def _facts(name: str) -> tuple[Any, list[str], MixerInfo]:
    """A mixer's entry, the forms that it has, and its info in the first of them."""
    forms = {causal: _info(mixers, name, causal) for causal in (True, False)}
    info = forms[True] or forms[False]
    if info is None:
        raise RuntimeError(f"mixer {name!r} describes itself neither with causal=True nor with causal=False")
    words = [word for causal, word in ((True, "causal"), (False, "bidirectional")) if forms[causal]]
    return mixers.get(name), words, info


def _mixer_row(name: str) -> list[str]:
    entry, words, info = _facts(name)
    if info.max_length is not None:
        words.append(f"at most {info.max_length} tokens")
    return [
        f"`{name}`",
        entry.summary,
        ", ".join(words),
        info.cost,
        info.state,
        ", ".join(papers_with(f"mixer {name}")),
    ]


def _info(registry: Registry[type[Mixer]], name: str, causal: bool) -> MixerInfo | None:
    """The info under default options, or None where the mixer has no such form."""
    try:
        return part_info(registry, name, {"causal": causal})
    except ValueError:
        return None


def _plain_rows(registry: Registry) -> list[list[str]]:
    return [
        [f"`{entry.id}`", entry.summary, ", ".join(papers_with(f"{registry.kind} {entry.id}"))]
        for entry in registry
    ]


def _excused(registry: Registry[type[Mixer]]) -> list[list[str]]:
    rows = []
    for entry in registry:
        for law, reason in part_info(registry, entry.id, entry.examples[0]).exceptions.items():
            rows.append([f"`{entry.id}`", law, reason])
    return rows


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n" + "".join("| " + " | ".join(line) + " |\n" for line in escaped)
