"""Laws are known by their decorators alone."""

from __future__ import annotations

import pytest

from anyformer.laws import LAWS, OP_LAWS, Laws


def test_laws_stand_by_subject_and_say_what_they_demand() -> None:
    subjects = [law.subject for law in LAWS.values()]
    assert subjects == sorted(subjects) and {"streaming", "masks", "cost"} <= set(subjects)
    assert LAWS["padding"].words.startswith("Masked tokens change no other output")
    assert OP_LAWS["not finite"].subject == "numerics" and not set(OP_LAWS) & {"reach", "streaming"}


def test_refused() -> None:
    laws: Laws[int] = Laws("anyformer.laws.ops")

    def one(case: int) -> None:
        """Be one."""

    def silent(case: int) -> None:
        pass

    def two(case: int) -> None:
        """Be two."""

    laws.register("one")(one)
    laws.register("one")(one)  # as where a file is run again
    two.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="law 'one' is already registered by .*test_registry"):
        laws.register("one")(two)
    with pytest.raises(ValueError, match="law 'silent' must say what it demands"):
        laws.register("silent")(silent)
    with pytest.raises(ValueError, match="unknown law 'reech'; did you mean 'reach'"):
        LAWS.chosen(["reech"])
