"""What a mixer is and costs, known without its weights; and a mixer written as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

GROWTHS = ("none", "constant", "log n", "n", "n log n", "n^1.5", "n^2")


@dataclass(frozen=True)
class MixerInfo:
    """What a mixer is and what it costs, known without its weights.

    Attributes:
        reach: how many tokens back and ahead an output depends on, ``None`` = all. ``(0, 0)`` is a channel
            mixer, ``(None, 0)`` causal, ``(None, None)`` bidirectional.
        cost: growth of time with the length; ``memory``: of what training keeps; ``state``: of what streaming
            keeps of the past.
        side: names of the side inputs it understands (``call.side``).
        context: whether it looks at a context (cross-attention).
        grid: whether it reads tokens as a grid by their number, so that none can be put in front or left out between.
        max_length: the longest sequence it can take, ``None`` = any.
        exceptions: laws that it breaks, each with the reason; an excused law must fail.
    """

    reach: tuple[int | None, int | None]
    cost: str = "n"
    memory: str = "n"
    state: str = "none"
    side: tuple[str, ...] = ()
    context: bool = False
    grid: bool = False
    max_length: int | None = None
    exceptions: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        for what in ("cost", "memory", "state"):
            if getattr(self, what) not in GROWTHS:
                raise ValueError(f"{what} must be one of {', '.join(GROWTHS)}; got {getattr(self, what)!r}")

    @property
    def causal(self) -> bool:
        """Whether no output depends on a later token, so that the mixer can stream."""
        return self.reach[1] == 0


class Mixing(NamedTuple):
    """A mixer written as a matrix: y = finish(matrix @ values)."""

    matrix: Tensor  # (B, H, T, S)
    values: Tensor  # (B, H, S, V)
    finish: Callable[[Tensor], Tensor]  # (B, H, T, V) -> (B, T, D)
