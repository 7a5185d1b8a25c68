"""Lets the tests of this folder share how a peer's checkpoint is compared with what we read from it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
