"""Draw what models tell about the example data: ``python examples/make_pictures.py [FOLDER [KIND ...]]``.

For each kind of data one model is trained for some hundred steps, and what it tells about new data of the same kind,
made with other seeds, or about what follows the data, is drawn into the folder, by default ``docs/images``. This needs
``anyformer[bench]`` for matplotlib, and ten minutes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import make_data
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import anyformer
from anyformer.train import Fit

HERE = Path(__file__).parent
DATA = HERE / "data"
INK, ACCENT, LIGHT = "#333333", "#1f6f8b", "#a9cdd8"
COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#8f6bb3", "#d4a017", "#777777")


def trained(name: str, model: str, steps: int, target: str | None = None, **options: Any) -> Any:
    """Train a model on a file or folder of the examples, and load it with its predictions."""
    folder = Path(tempfile.mkdtemp()) / "model"
    Fit.start(folder, DATA / name, model, target=target, options=options, steps=steps).run()
    return anyformer.load(folder)


def told(model: Any, data: Any, name: str) -> pd.DataFrame:
    """Return what a model tells about new data, text or a table, in a file of that name."""
    path = Path(tempfile.mkdtemp()) / name
    if isinstance(data, str):
        path.write_text(data, encoding="utf-8")
    else:
        data.to_csv(path, index=False)
    table: pd.DataFrame = model.predict(path).table
    return table


def new() -> np.random.Generator:
    """Return random numbers that no example was made of."""
    return np.random.default_rng(2024)


def series() -> Figure:
    """The last weeks of three series, and the quantiles of the next one."""
    groups = ["shop", "item"]
    options = {"known": ["promo", "price"], "calendar": True, "horizon": 7, "quantiles": [0.1, 0.5, 0.9]}
    model = trained("sales.csv", "transformer", 300, "sold", group=groups, **options)
    table, frame = model.predict().table, pd.read_csv(DATA / "sales.csv")
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.2), sharey=True)
    for axis, (key, ahead) in zip(axes, list(table.groupby(groups))[::3]):
        past = frame[(frame[groups] == list(key)).all(axis=1)].dropna(subset="sold").tail(28)
        before, after = np.arange(-len(past), 0), np.arange(len(ahead))
        axis.plot(before, past["sold"], color=INK, linewidth=1)
        axis.fill_between(after, ahead["sold_q0.1"], ahead["sold_q0.9"], color=LIGHT)
        axis.plot(after, ahead["sold_q0.5"], color=ACCENT)
        axis.set_title(" / ".join(key), fontsize=9)
        axis.set_xlabel("days")
    axes[0].set_ylabel("sold")
    return figure


def events() -> Figure:
    """What some visitors opened, and how probably they subscribe."""
    model = trained("visits.csv", "hgrn2", 300, "subscribed", group="visitor")
    frame = pd.read_csv(StringIO(make_data.visits(new())))
    table = told(model, frame.drop(columns="subscribed"), "new.csv").head(8)
    pages = ["prices", "contact", "home", "blog", "help", "team"]
    figure, axis = plt.subplots(figsize=(9, 2.4))
    for row, (visitor, p) in enumerate(zip(table["visitor"], table["p(yes)"])):
        seen = frame.loc[frame["visitor"] == visitor, "page"]
        for place, page in enumerate(seen):
            colour = COLOURS[pages.index(page)] if page in pages[:2] else "#dddddd"
            axis.scatter(place, -row, color=colour, s=45)
        axis.barh(-row, 4 * p, left=17, color=LIGHT, height=0.6)
        axis.text(21.2, -row, f"p(yes) = {p:.2f}", va="center", fontsize=8)
    for place, page in enumerate(pages[:2]):
        axis.scatter(0.1 + 3 * place, 1.2, color=COLOURS[place], s=45)
        axis.text(0.5 + 3 * place, 1.2, page, va="center", fontsize=8)
    axis.set_xlim(-0.6, 24.5)
    return bare(figure)


def rows() -> Figure:
    """Rows of readings, and what they are called."""
    model = trained("gestures.csv", "transformer", 200, "gesture")
    frame = pd.read_csv(StringIO(make_data.gestures(new(), 6)))
    table = told(model, frame.drop(columns="gesture"), "new.csv")
    figure, axes = plt.subplots(1, 6, figsize=(9, 1.6), sharey=True)
    for row, axis in enumerate(axes):
        axis.plot(frame.iloc[row, :12].astype(float), color=ACCENT)
        name = table["gesture"][row]
        axis.set_title(f"{name} ({table[f'p({name})'][row]:.2f})", fontsize=9)
    return bare(figure)


def texts() -> Figure:
    """Texts, and how probably they are happy."""
    model = trained("reviews.jsonl", "hgrn2", 400, "mood")
    lines = [json.loads(line) for line in make_data.reviews(new(), 7).splitlines()]
    unlabelled = "".join(json.dumps({"text": line["text"]}) + "\n" for line in lines)
    figure, axis = plt.subplots(figsize=(9, 2))
    for row, (line, p) in enumerate(zip(lines, told(model, unlabelled, "new.jsonl")["p(happy)"])):
        axis.text(0, -row, line["text"], va="center", fontsize=9)
        axis.barh(-row, 2 * p, left=7, color=LIGHT, height=0.6)
        axis.text(9.1, -row, f"p(happy) = {p:.2f}", va="center", fontsize=8)
    axis.set_xlim(0, 11)
    axis.set_ylim(-6.6, 0.6)
    return bare(figure)


def pairs() -> Figure:
    """Words that were not in the data, and how they are written in Latin letters."""
    options = {"kind": "translate", "text": "cyrillic"}
    model = trained("words.tsv", "encoder_decoder", 600, "latin", **options)
    words = [line.split("\t")[0] for line in make_data.words(new()).splitlines()[1:9]]
    table = told(model, "cyrillic\n" + "\n".join(words) + "\n", "new.tsv")
    figure, axis = plt.subplots(figsize=(9, 0.9))
    for place, (word, latin) in enumerate(zip(words, table["latin"])):
        axis.text(place, 1, word, ha="center", fontsize=10)
        axis.text(place, 0, latin, ha="center", fontsize=10, color=ACCENT)
    axis.set_xlim(-0.6, len(words) - 0.4)
    axis.set_ylim(-0.3, 1.6)
    return bare(figure)


def tags() -> Figure:
    """Sentences whose names are tagged."""
    model = trained("diary.conll", "transformer head=crf", 200)
    sentences = (
        "Paris met Austin Reed in Vienna .",
        "From Jordan , Georgia wrote to Sydney Bank again .",
        "It rained in Victoria all day .",
    )
    table = told(model, "\n\n".join("\n".join(line.split()) for line in sentences) + "\n", "new.conll")
    names = iter(table[table.columns[-1]])
    colours = {"PER": COLOURS[0], "LOC": COLOURS[1], "ORG": COLOURS[2]}
    figure, axis = plt.subplots(figsize=(9, 1.4))
    for row, line in enumerate(sentences):
        place = 0.0
        for word in line.split():
            tag = str(next(names)).rpartition("-")[2]
            width = 0.14 * len(word) + 0.18
            colour = colours.get(tag)
            axis.text(place, -row, word, fontsize=10, family="monospace", color=colour or INK)
            if colour:
                axis.text(place, -row - 0.42, tag, fontsize=6, color=colour)
            place += width
    axis.set_xlim(0, 9)
    axis.set_ylim(-2.6, 0.5)
    return bare(figure)


def images() -> Figure:
    """Images, and the direction of their lines."""
    model = trained("strokes", "transformer", 400)
    random, folder = new(), Path(tempfile.mkdtemp())
    strokes = [make_data.stroke(random, number % 4) for number in range(10)]
    files = [folder / f"{number}.png" for number in range(len(strokes))]
    for stroke, file in zip(strokes, files):
        stroke.save(file)
    table = model.predict(files).table
    figure, axes = plt.subplots(1, len(files), figsize=(9, 1.3))
    for axis, stroke, name in zip(axes, strokes, table["class"]):
        axis.imshow(np.asarray(stroke), cmap="gray")
        axis.set_title(name, fontsize=8)
    return bare(figure)


def graphs() -> Figure:
    """Molecules, and how probably they hold a carbon with a double bond to oxygen."""
    model = trained("molecules.jsonl", "gin", 300, "carbonyl")
    random = new()
    molecules = [json.loads(make_data.molecule(random)) for _ in range(5)]
    lines = [json.dumps({"nodes": one["nodes"], "edges": one["edges"]}) for one in molecules]
    table = told(model, "\n".join(lines) + "\n", "new.jsonl")
    figure, axes = plt.subplots(1, 5, figsize=(9, 1.9))
    for axis, molecule, p in zip(axes, molecules, table["p(yes)"]):
        places = spread(len(molecule["nodes"]), [edge[:2] for edge in molecule["edges"]])
        for a, b, bond in molecule["edges"]:
            double = bond == "double"
            colour = COLOURS[1] if double else "#bbbbbb"
            axis.plot(*places[[a, b]].T, color=colour, linewidth=3 if double else 1)
        for place, name in zip(places, molecule["nodes"]):
            box = {"fc": "white", "ec": "none", "pad": 1}
            axis.text(*place, name, ha="center", va="center", fontsize=8, bbox=box)
        axis.set_title(f"p(yes) = {p:.2f}", fontsize=8)
        axis.margins(0.2)
    return bare(figure)


def spread(count: int, edges: list[list[int]]) -> np.ndarray:
    """Place nodes in the plane: neighbours near each other, others apart (by multidimensional scaling)."""
    away = np.full((count, count), float(count))
    np.fill_diagonal(away, 0)
    for a, b in edges:
        away[a, b] = away[b, a] = 1
    for middle in range(count):
        away = np.minimum(away, away[:, [middle]] + away[middle])
    centred = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centred @ away**2 @ centred)
    found: np.ndarray = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-9))
    return found


def items() -> Figure:
    """What some readers took home last, and what they are told to take next."""
    model = trained("loans.csv", "hgrn2", 300, "book", kind="next", group="reader")
    frame, table = pd.read_csv(DATA / "loans.csv"), model.predict().table
    figure, axes = plt.subplots(1, 3, figsize=(9, 1.9))
    for axis, (reader, ranks) in zip(axes, list(table.groupby("reader"))[5::40]):
        last = frame.loc[frame["reader"] == reader, "book"].tail(2)
        top = ranks.head(4)
        axis.text(0, 1.1, f"{reader} read {', '.join(last)}", fontsize=6.5)
        axis.barh(-np.arange(len(top)), top["p"], color=LIGHT)
        for row, book in enumerate(top["book"]):
            axis.text(0.01, -row, book, va="center", fontsize=8)
        axis.set_ylim(-3.6, 1.6)
    return bare(figure)


def bare(figure: Figure) -> Figure:
    """Return a figure without axes."""
    for axis in figure.axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    return figure


KINDS: dict[str, Callable[[], Figure]] = {
    **{"series": series, "events": events, "rows": rows, "texts": texts, "pairs": pairs, "tags": tags},
    **{"images": images, "graphs": graphs, "items": items},
}


def main(folder: Path, chosen: list[str]) -> None:
    """Draw the pictures."""
    plt.rcParams.update(
        {"svg.hashsalt": "anyformer", "svg.fonttype": "path", "text.color": INK, "font.size": 8}
    )
    for name in chosen or KINDS:
        figure = KINDS[name]()
        figure.savefig(folder / f"kind_{name}.svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
        print(f"kind_{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "images", sys.argv[2:])
