"""What the best weights of each run bring: their test score beside that of the last weights of the same run.

Run as a script, it makes comparisons in this process, and writes the file behind the table of
``docs/studies.md``::

    python tests/compare/early_stopping.py FOLDER --budget "300 steps" --out docs/studies/early_stopping.json

FOLDER is one that ``examples/make_real_data.py`` has written. What is in the file already is not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fakes import in_process

from anyformer.compare import compare
from anyformer.compare.run import executor
from anyformer.compare.run.training import Run
from anyformer.tasks import Evaluation

DATA: dict[str, dict[str, Any]] = {
    "ItalyPowerDemand.npz": {"models": "rocket, inceptiontime"},
    "ArrowHead.npz": {"models": "rocket, inceptiontime"},
    "breast_cancer.csv": {"models": "transformer, inceptiontime", "target": "target"},
    "diabetes.csv": {"models": "transformer, inceptiontime", "target": "target"},
}


def both(folder: Path, data: str, budget: str) -> list[dict[str, Any]]:
    """Compare two models on a file; returns the test scores of the last and of the kept weights of each run."""
    found: list[dict[str, Any]] = []
    take = executor._Job.take_best

    def scored(job: Any, run: Run, items: int) -> tuple[Evaluation, int]:
        final, steps = job.task_plan.final, run.trainer.step
        last = job.evaluate(run.trainer, "test", final.test_items).value
        kept, step = take(job, run, items)
        test = last if step == steps else job.evaluate(run.trainer, "test", final.test_items).value
        found.append(
            {
                "candidate": job.unit.candidate,
                "seed": job.unit.seed,
                "planned": job.leg().planned,
                "steps": steps,
                "kept_step": step,
                "last": last,
                "kept": test,
            }
        )
        return kept, step

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as out:
        in_process(patch)
        patch.setattr(executor._Job, "take_best", scored)
        compare(
            folder / data,
            budget=budget,
            out=Path(out) / "out",
            refit=False,
            quiet=True,
            workers=1,
            **DATA[data],
        )
    return found


def main() -> None:
    """Compare on all data, and print how much the kept weights are better in test than the last ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--budget", default="300 steps")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    held = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    for data in DATA:
        if data not in held:
            held[data] = both(given.folder, data, given.budget)
            given.out.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
        runs = held[data]
        earlier = [run for run in runs if run["kept_step"] != run["steps"]]
        gains = [run["kept"] - run["last"] for run in earlier]
        print(
            data,
            len(runs),
            "runs,",
            len(earlier),
            "kept earlier weights, score less that of the last:",
            gains,
        )


if __name__ == "__main__":
    main()
