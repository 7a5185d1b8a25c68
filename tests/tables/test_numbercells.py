"""Cells of numbers, and a file's notation of them."""

from __future__ import annotations

import pytest

from anyformer.tables.numbercells import Convention


def test_conventions_are_checked() -> None:
    with pytest.raises(ValueError, match=r"decimal must be '\.' or ',', got ';'"):
        Convention(decimal=";")
    with pytest.raises(ValueError, match="thousands must be .*, got '_'"):
        Convention(thousands="_")
    with pytest.raises(ValueError, match="decimal and thousands must differ, got ',' for both"):
        Convention(decimal=",", thousands=",")
