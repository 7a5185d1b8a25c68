"""How often a whole comparison names a winner among equals: two candidates that are one, but for what they draw.

Run as a script, it makes forty comparisons with a budget of time, references and early stopping included, and writes
the file behind the table of ``docs/studies.md``::

    python tests/compare/equals.py FOLDER --budget 40s --out docs/studies/equals.json

FOLDER is one that ``examples/make_real_data.py`` has written. What is in the file already is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from anyformer.compare import compare

PARTS = {
    "attention": "softmax.attention:Attention",
    "mamba": "state_space.mamba:Mamba",
    "lstm": "recurrent.lstm:Lstm",
    "retention": "linear.retention:Retention",
    "s4": "state_space.s4:S4",
}
DATA: dict[str, dict[str, Any]] = {
    "recall": {"options": {"length": 24, "num_pairs": 4, "vocab_size": 16}},
    "copy": {"options": {"length": 16}},
    "state_tracking": {"options": {"length": 16}},
    "listops": {"options": {"length": 16}},
    "JapaneseVowels.npz": {},
    "BasicMotions.npz": {},
    "digits.npz": {},
    "sunspots.csv": {"target": "value", "options": {"horizon": 11}},
}
"""Generated tasks, whose references are weak, and files of FOLDER."""
TWIN = """
import torch
from {module} import {name}


class Twin({name}):
    def __init__(self, *args, **options):
        torch.rand(7)  # so that all that is drawn from here on is other than in its like
        super().__init__(*args, **options)
"""


def one(folder: Path, data: str, part: str, budget: str) -> dict[str, Any]:
    """Compare a part with its twin on a file, and return what was said."""
    module, name = PARTS[part].split(":")
    with tempfile.TemporaryDirectory() as temporary:
        twin = Path(temporary) / "twin.py"
        twin.write_text(TWIN.format(module=f"anyformer.mixers.{module}", name=name), encoding="utf-8")
        models = {part: f"[{part}]*2", "twin": f"[{twin}:Twin]*2"}
        out = Path(temporary) / "out"
        found = compare(
            folder / data if "." in data else data,
            models,
            budget=budget,
            out=out,
            refit=False,
            quiet=True,
            **DATA[data],
        )
    result = found.results.tasks[0]
    return {
        "data": data,
        "part": part,
        "kind": found.verdict.kind,
        "headline": found.verdict.headline,
        "winner": found.verdict.winner,
        "scores": {row.name: row.score for row in result.leaderboard},
        "runs": {
            c.name: [(run.learning_rate, run.steps, run.test.score) for run in c.runs]
            for c in result.candidates
        },
        "search": {
            c.name: [(run.steps, run.seed, run.learning_rate, run.loss) for run in c.search]
            for c in result.candidates
        },
    }


def main() -> None:
    """Compare all parts on all data, and print how often each kind of verdict was given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--budget", default="40s")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tries = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
    done = {(held["data"], held["part"]) for held in tries}
    for data, part in itertools.product(DATA, PARTS):
        if (data, part) in done:
            continue
        tries.append(one(given.folder, data, part, given.budget))
        print(data, part, tries[-1]["headline"], flush=True)
        given.out.write_text(json.dumps(tries, indent=1) + "\n", encoding="utf-8")
    print(len(tries), dict(Counter(held["kind"] for held in tries)))


if __name__ == "__main__":
    main()
