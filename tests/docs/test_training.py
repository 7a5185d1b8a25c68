"""The loggers on the page of training take the curves; the libraries are stand-ins that keep what they are given."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

STAND_INS = """
import json, sys, types
taken = {"tensorboard": [], "wandb": []}

class SummaryWriter:
    def __init__(self, folder): pass
    def add_scalar(self, name, value, step): taken["tensorboard"].append([step, name, float(value)])

class Run:
    def log(self, values, step): taken["wandb"].extend([step, name, float(v)] for name, v in values.items())

sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=SummaryWriter)
sys.modules["wandb"] = types.SimpleNamespace(init=lambda project: Run())
"""


def test_loggers_take_the_curves(blocks_of: Any, run: Any, tmp_path: Path) -> None:
    blocks = [block.text for block in blocks_of("training.md") if block.kind == "python"]
    end = 'open("taken.json", "w").write(json.dumps(taken))'
    (tmp_path / "page.py").write_text("\n".join([STAND_INS, *blocks, end]), encoding="utf-8")
    (tmp_path / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    run([sys.executable, "page.py"])
    taken = json.loads((tmp_path / "taken.json").read_text())
    assert taken["tensorboard"] == taken["wandb"], "two trainings from one seed, in two loggers"
    names = [name for _, name, _ in taken["wandb"]]
    assert names.count("train/loss") == 20
    assert names.count("valid/accuracy") == 10
    assert names[-1] == "test/accuracy"
