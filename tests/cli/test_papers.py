"""The command ``papers`` comes from a package of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import importlib.metadata as metadata
found = metadata.entry_points
metadata.entry_points = lambda **wanted: [] if wanted.get("group") == "anyformer.commands" else found(**wanted)
from anyformer.cli import app
app({arguments})
"""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["check", "retnet", "--claims"]], ids=str)
def test_without_the_package_one_sentence_says_what_to_install(arguments: list[str]) -> None:
    code = WITHOUT.format(arguments=["papers", *arguments])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "error: anyformer papers needs the package anyformer-papers: pip install 'anyformer[papers]'"
    )
