"""A law is added as the page says: its two files are written, and everything else knows the law."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import anyformer.laws
from anyformer.cli import app
from anyformer.laws import LAWS, faults

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(
    blocks_of: Callable[[str], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder with the two files of the page, beside those that are here."""
    shutil.copytree(ROOT / "tests/laws/faults", tmp_path / "tests/laws/faults")
    shutil.copy(ROOT / "tests/laws/test_faults.py", tmp_path / "tests/laws")
    for block in blocks_of("add_a_law.md"):
        if block.title:
            (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    path = [*anyformer.laws.__path__, str(tmp_path / "src/anyformer/laws")]
    monkeypatch.setattr(anyformer.laws, "__path__", path)
    monkeypatch.setattr(LAWS, "_laws", {name: LAWS[name] for name in LAWS})
    monkeypatch.setattr(faults, "FAULTS", [])
    monkeypatch.setattr(faults, "OP_FAULTS", [])
    LAWS.read()
    yield tmp_path
    sys.modules.pop("anyformer.laws.inference")


def test_the_law_is_known_and_its_fault_is_caught(written: Path) -> None:
    assert LAWS["inference"].words.startswith("A call under ``torch.inference_mode``")
    done = CliRunner().invoke(app, ["check", "retention", "--law", "inference", "--workers", "1"])
    assert done.exit_code == 0 and " 0 broken" in done.output
    spec = importlib.util.spec_from_file_location("faults_of_the_page", written / "tests/laws/test_faults.py")
    assert spec is not None and spec.loader is not None
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    tests.test_every_law_has_a_fault("inference")
    (fault,) = [fault for fault in faults.FAULTS if fault.law == "inference"]
    tests.test_the_law_catches_the_mixer(fault)
