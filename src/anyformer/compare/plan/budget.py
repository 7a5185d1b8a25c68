"""A budget: of time for the whole comparison, or of steps or tokens for each training run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from anyformer.spelling import option
from anyformer.train.schedule import DECAY

CLOSING_SECONDS = 2.0
"""Seconds set aside for the results and the report, on an idle machine; see ``Plan.closing``."""
OVERHEAD = 1.3
"""Time of a run with its evaluations, as a multiple of its training steps."""
BEFORE_DECAY = 1 - DECAY
"""Share of a run after which its learning rate begins to fall; longer training (``--more``) continues from there."""
LONGEST_SECONDS = 7200.0
TIMES = (
    20,
    30,
    45,
    60,
    90,
    *(60 * n for n in (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 90, 120)),
)
"""Round times that are proposed, in seconds."""

Kind = Literal["seconds", "steps", "tokens"]
UNITS: dict[str, tuple[Kind, float]] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), ("seconds", 1.0)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), ("seconds", 60.0)),
    **dict.fromkeys(("h", "hour", "hours"), ("seconds", 3600.0)),
    **dict.fromkeys(("step", "steps"), ("steps", 1.0)),
    **dict.fromkeys(("token", "tokens"), ("tokens", 1.0)),
}


@dataclass(frozen=True)
class Budget:
    """Seconds for the whole comparison; or steps, or tokens, of each training run."""

    kind: Kind
    amount: float

    @classmethod
    def parse(cls, text: str | float, name: str = "budget") -> Budget:
        """Read a budget: ``"60s"``, ``"10m"``, ``"2h"``, ``"500 steps"``, ``"1M tokens"``, or a number of seconds.

        ``name`` is that of the argument, for messages.

        Raises:
            ValueError: if it is none of these, or not positive.
        """
        expected = 'expected a time ("60s", "10m", "2h"), "500 steps" or "1M tokens"'
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            text = f"{text}s"
        found = re.fullmatch(
            r"\s*([-+]?(?:\d+|\d{1,3}(?:[,_]\d{3})+)?(?:\.\d+)?)\s*([kKMGB]?)\s*([a-z]+)\s*", str(text)
        )
        if found is None or found[3] not in UNITS:
            raise ValueError(f"{option(name)}: {expected}, got {str(text)!r}")
        try:
            number = float(found[1].replace("_", "").replace(",", ""))
        except ValueError:
            raise ValueError(f"{option(name)}: {expected}, got {str(text)!r}") from None
        kind, factor = UNITS[found[3]]
        if found[2] and kind == "seconds":
            raise ValueError(f"{option(name)}: {expected}, got {str(text)!r}")
        amount = number * factor * {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}[found[2]]
        if amount <= 0 or not math.isfinite(amount):
            raise ValueError(f"{option(name)} must be positive, got {str(text)!r}")
        if kind == "steps" and (amount < 1 or amount != int(amount)):
            raise ValueError(f"{option(name)} must be whole steps, at least one, got {str(text)!r}")
        return cls(kind, amount)

    def steps(self, tokens: int) -> int | None:
        """Return the steps of a run, or None for a budget of time.

        Args:
            tokens: tokens in a training step.

        Raises:
            ValueError: if the budget is less than one step.
        """
        if self.kind == "steps":
            return int(self.amount)
        if self.kind == "tokens":
            steps = int(self.amount // tokens)
            if steps < 1:
                raise ValueError(f"budget of {self.amount:g} tokens is less than one step of {tokens} tokens")
            return steps
        return None


def propose_time(seconds: float) -> tuple[str, str]:
    """Return a round time of at least ``seconds``, in words and as ``--more`` takes it; ``"more"`` beyond two hours."""
    if seconds > LONGEST_SECONDS:
        return "more", "2h"
    enough = next(time for time in TIMES if time >= seconds)
    if enough < 120:
        return f"{enough} seconds", f"{enough}s"
    if enough < 3600 or enough % 3600:
        return f"{enough // 60} minutes", f"{enough // 60}m"
    return ("1 hour" if enough == 3600 else f"{enough // 3600} hours"), f"{enough // 3600}h"
