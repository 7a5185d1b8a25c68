"""What a benchmark found: tables as Markdown, plots as SVG, everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Table:
    """A titled table, its note below it."""

    title: str
    columns: tuple[str, ...]
    note: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row."""
        assert len(cells) == len(self.columns)
        self.rows.append(tuple(str(cell) for cell in cells))

    def markdown(self) -> str:
        """A heading, the table with its first column to the left, the note."""
        lines = [f"## {self.title}", "", _line(self.columns), "|---|" + "--:|" * (len(self.columns) - 1)]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, "", *([self.note, ""] if self.note else [])])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


@dataclass
class Plot:
    """Curves over a logarithmic x axis and a logarithmic y axis."""

    name: str
    title: str
    x: str
    y: str
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Draw it as SVG; needs matplotlib."""
        import matplotlib

        matplotlib.use("svg")
        matplotlib.rcParams["svg.hashsalt"] = "anyformer"  # the same figures make the same file
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
        for number, (name, points) in enumerate(self.curves.items()):
            axes.plot(*zip(*points, strict=True), marker="osD^v"[number % 5], markersize=4, label=name)
        axes.set(xscale="log", yscale="log", xlabel=self.x, ylabel=self.y, title=self.title)
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", ncols=2)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)


@dataclass
class Page:
    """All that one run found."""

    machine: str
    command: str
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Suites that broke off, with the reason."""

    def markdown(self, folder: str = "") -> str:
        """The page; its plots lie in ``folder`` beside it."""
        parts = [f"# What things cost\n\nMade by `{self.command}` on: {self.machine}\n"]
        parts += [
            "Times are medians in milliseconds with the quartile distance; candidates take turns in one process. "
            "Compare the ratios: absolute times are of this machine.\n"
        ]
        parts += [table.markdown() for table in self.tables]
        parts += [f"## {plot.title}\n\n![{plot.title}]({folder}/{plot.name}.svg)\n" for plot in self.plots]
        parts += [f"The suite `{name}` broke off: {reason}\n" for name, reason in self.failed.items()]
        return "\n".join(parts)

    def write(self, path: Path) -> list[str]:
        """Write the Markdown to ``path``, JSON and plots into a folder of its name; what could not be, in words."""
        folder = path.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(self.markdown(folder.name), encoding="utf-8")
        (folder / "figures.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        try:
            for plot in self.plots:
                plot.save(folder / f"{plot.name}.svg")
        except ImportError:
            return ["the plots need matplotlib: pip install 'anyformer[bench]'"]
        return []
