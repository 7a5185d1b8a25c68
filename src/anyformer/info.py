"""What a mixer is and costs, known without its weights; and a mixer written as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from torch import Tensor

GROWTHS = ("none", "constant", "log n", "n", "n log n", "n^1.5", "n^2")


@dataclass(frozen=True)
class SideInput:
    """What a side input is about, so that it goes where its tokens go.

    Attributes:
        of: ``"token"``: (B, T, ...), moved with the tokens; ``"sample"``: (B, ...); ``"pair"``: (B, T, T, ...) or a
            function, which no one moves, so that it is refused where tokens are masked, packed or moved.
        axes: axes that it has behind those of the tokens.
        absent: what a token has that nothing is known of, as one that a model puts in front; a side input of nothing
            else is as if none were given.
    """

    of: Literal["token", "sample", "pair"] = "token"
    axes: int = 0
    absent: float = 0

    def check(self, name: str, value: Any, B: int, T: int) -> None:
        """Raise ``ValueError`` unless ``value`` is a side input of this kind for x (B, T, D)."""
        if self.of == "pair" and callable(value):
            return
        places = (B,) if self.of == "sample" else (B, T) if self.of == "token" else (B, T, T)
        shape = tuple(value.shape) if isinstance(value, Tensor) else None
        if shape is None or shape[: len(places)] != places or len(shape) != len(places) + self.axes:
            expected = ", ".join([*map(str, places), *["*"] * self.axes])
            got = type(value).__name__ if shape is None else shape
            raise ValueError(f"call.side[{name!r}] must be a tensor of shape ({expected}), got {got}")


@dataclass(frozen=True)
class MixerInfo:
    """What a mixer is and what it costs, known without its weights.

    Attributes:
        reach: how many tokens back and ahead an output depends on, ``None`` = all. ``(0, 0)`` is a channel
            mixer, ``(None, 0)`` causal, ``(None, None)`` bidirectional.
        cost: growth of time with the length; ``memory``: of what training keeps; ``state``: of what streaming
            keeps of the past.
        side: the side inputs it understands (``call.side``), by name.
        context: whether it looks at a context (cross-attention).
        grid: whether it reads tokens as a grid by their number, so that none can be put in front or left out between.
        max_length: the longest sequence it can take, ``None`` = any.
        exceptions: laws that it breaks, each with the reason; an excused law must fail.
    """

    reach: tuple[int | None, int | None]
    cost: str = "n"
    memory: str = "n"
    state: str = "none"
    side: Mapping[str, SideInput] = field(default_factory=dict)
    context: bool = False
    grid: bool = False
    max_length: int | None = None
    exceptions: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        for what in ("cost", "memory", "state"):
            if getattr(self, what) not in GROWTHS:
                raise ValueError(f"{what} must be one of {', '.join(GROWTHS)}; got {getattr(self, what)!r}")
        if not isinstance(self.side, Mapping):
            raise ValueError(f"side must be a dict of SideInput by name, got {self.side!r}")

    @property
    def causal(self) -> bool:
        """Whether no output depends on a later token, so that the mixer can stream."""
        return self.reach[1] == 0


class Mixing(NamedTuple):
    """A mixer written as a matrix: y = finish(matrix @ values)."""

    matrix: Tensor  # (B, H, T, S)
    values: Tensor  # (B, H, S, V)
    finish: Callable[[Tensor], Tensor]  # (B, H, T, V) -> (B, T, D)
