"""Who has to act on an exception: the user, the author of the user's file, or we."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.cli import mistakes
from anyformer.cli.mistakes import REPORT, explain, origin
from anyformer.machine import MachineFault
from anyformer.models import load_spec
from anyformer.registry import Registry
from anyformer.user_code import load_file

USERS = """
import json

def refuse():
    raise ValueError("dim must be even")

def fail():
    json.loads("{")

def call(function):
    function()
"""


def caught(function: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as found:  # noqa: PT011  (any of them, to be judged)
        function()
    return found.value


def ours(body: str, module: str = "anyformer.imagined") -> Callable[[], object]:
    """A function of this library, as one of its modules would hold it."""
    names = {"__name__": module, "np": np, "pd": pd, "torch": torch, "Path": Path}
    exec(f"def function():\n    {body}", names)
    return names["function"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError('budget must be positive')",
        "try: int('x')\n    except ValueError as error: raise ValueError('not a number') from error",
        "raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'not text')",
        "raise MemoryError",
        "raise torch.OutOfMemoryError('CUDA out of memory')",
        "open('/no/such/file')",
        "Path('/no/such/file').read_bytes()",
    ],
)
def test_mistakes_of_users(body: str) -> None:
    error = caught(ours(body))
    assert origin(error) == "mistake"
    assert explain(error) == (str(error) or "MemoryError")


@pytest.mark.parametrize(
    "body",
    [
        "int('x')",
        "a, b = [1]",
        "list(zip([1], [1, 2], strict=True))",
        "np.zeros(3).reshape(2, 2)",
        "np.stack([])",
        "pd.DataFrame({'a': [1, 2]}).set_axis(['a', 'b'], axis=1)",
        "torch.nn.functional.cross_entropy(torch.zeros(2, 3), torch.zeros(4, dtype=torch.int64))",
        "b'\\xff'.decode()",
        "raise KeyError('column')",
        "assert not 'an invariant'",
        "torch.zeros(2) @ torch.zeros(3)",
        "try: raise ValueError('read me')\n    finally: int('x')",
    ],
)
def test_faults_of_ours(body: str) -> None:
    error = caught(ours(body))
    assert origin(error) == "library"
    assert explain(error) == REPORT


def test_messages_of_the_library_are_for_the_user() -> None:
    """Of the registry, of the spec language, and of the machine; with a code object that is really ours."""
    for function in (
        lambda: Registry("thing", {}).get("x"),
        lambda: load_spec("[attention("),
    ):
        assert origin(caught(function)) == "mistake"
    assert origin(MachineFault(errno.ENOSPC, "the disk is full")) == "mistake"


def test_what_a_file_of_the_users_raises(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USERS, encoding="utf-8")
    module = load_file(str(file))
    assert origin(caught(module.refuse)) == "mistake"
    error = caught(module.fail)
    assert origin(error) == "user's code"
    assert explain(error) == f"{file} failed, as the lines above show"
    assert origin(caught(lambda: module.call(ours("int('x')")))) == "library"
    assert origin(caught(lambda: module.call(ours("raise ValueError('x must be (B, T, D)')")))) == "mistake"


def test_what_a_package_raises_that_registers_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own refusals are for the user, and its faults are not ours."""
    error, refusal = (
        caught(ours(body, "extends.mixers")) for body in ("int('x')", "raise ValueError('dim must be even')")
    )
    monkeypatch.setattr(mistakes, "_extensions", lambda: frozenset({"extends"}))
    assert (origin(error), origin(refusal)) == ("user's code", "mistake")
    monkeypatch.setattr(mistakes, "_extensions", frozenset)
    assert (origin(error), origin(refusal)) == ("library", "library")


def test_an_error_from_nowhere_is_ours() -> None:
    """As from another process, which leaves no traceback of its own."""
    assert origin(ValueError("?")) == "library"
    assert origin(RuntimeError("?")) == "library"
