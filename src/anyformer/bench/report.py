"""Results of a benchmark: tables as Markdown, plots as SVG, everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class BenchTable:
    """A table with a title above it and a note below it."""

    title: str
    columns: tuple[str, ...]
    note: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row, one cell for each column."""
        assert len(cells) == len(self.columns)
        self.rows.append(tuple(str(cell) for cell in cells))

    def markdown(self) -> str:
        """Return heading, table (first column left-aligned, the others right) and note."""
        lines = [f"## {self.title}", "", _line(self.columns), "|---|" + "--:|" * (len(self.columns) - 1)]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, "", *([self.note, ""] if self.note else [])])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


@dataclass
class LogPlot:
    """Curves over a logarithmic x axis and a logarithmic y axis."""

    name: str
    title: str
    x: str
    y: str
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Draw it as SVG.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        import matplotlib

        matplotlib.use("svg")
        matplotlib.rcParams["svg.hashsalt"] = "anyformer"  # equal data gives an equal file
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
    """All results of one run."""

    machine: str
    command: str
    tables: list[BenchTable] = field(default_factory=list)
    plots: list[LogPlot] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Suites that raised, each with the reason."""
    title: str = "What things cost"
    introduction: str = (
        "Times are medians in milliseconds with the quartile distance; candidates take turns in one process. "
        "Compare the ratios: absolute times are of this machine."
    )

    def markdown(self, folder: str = "") -> str:
        """Return the page, which expects its plots in ``folder`` beside it."""
        parts = [f"# {self.title}\n\nMade by `{self.command}` on: {self.machine}\n", f"{self.introduction}\n"]
        parts += [table.markdown() for table in self.tables]
        parts += [f"## {plot.title}\n\n![{plot.title}]({folder}/{plot.name}.svg)\n" for plot in self.plots]
        parts += [f"`{name}` broke off: {reason}\n" for name, reason in self.failed.items()]
        return "\n".join(parts)

    def write(self, path: Path) -> list[str]:
        """Write the Markdown to ``path``, JSON and plots into the folder of its name without suffix.

        Returns:
            What could not be written, in words; empty if all was.
        """
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
