"""Lets these tests import the strategies beside them, and those of dates."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "dates")]
