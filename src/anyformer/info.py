"""Properties and cost of a mixer, known without building it; and a mixer written as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from torch import Tensor

GROWTHS = ("none", "constant", "log n", "n", "n log n", "n^1.5", "n^2")


@dataclass(frozen=True)
class SideInput:
    """The shape of a side input, by which it is rearranged with its tokens.

    Attributes:
        of: ``"token"``: (B, T, ...), rearranged with the tokens; ``"sample"``: (B, ...); ``"pair"``: (B, T, T, ...),
            rearranged with the tokens along both axes, or a function, which is never rearranged, and so refused where
            tokens are masked, packed or moved.
        axes: number of axes after those of the tokens.
        absent: value for tokens without one, such as those that a model prepends; all tokens absent is like no side
            input.
        required: the mixer refuses to run without it.
    """

    of: Literal["token", "sample", "pair"] = "token"
    axes: int = 0
    absent: float = 0
    required: bool = False

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
    """Properties and cost of a mixer, known without building it.

    Attributes:
        reach: numbers of tokens back and ahead that an output depends on, ``None`` = all. ``(0, 0)`` is a channel
            mixer, ``(None, 0)`` causal, ``(None, None)`` bidirectional.
        cost: growth of time with the length; ``memory``: of training's memory; ``state``: of the streaming state.
        side: its side inputs (``call.side``), by name.
        context: it attends to a context (cross-attention).
        grid: it reads tokens as a grid by their number, so that tokens can be neither prepended nor left out.
        numbers_tokens: it numbers the tokens of its parts itself, so that explicit positions are refused.
        max_length: the longest sequence, ``None`` = any.
        exceptions: laws that it breaks, each with the reason; an excused law must fail.
    """

    reach: tuple[int | None, int | None]
    cost: str = "n"
    memory: str = "n"
    state: str = "none"
    side: Mapping[str, SideInput] = field(default_factory=dict)
    context: bool = False
    grid: bool = False
    numbers_tokens: bool = False
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
    def required(self) -> list[str]:
        """Names of the side inputs without which it refuses to run."""
        return [name for name, kind in self.side.items() if kind.required]

    @property
    def causal(self) -> bool:
        """True if no output depends on a later token, so that the mixer can stream."""
        return self.reach[1] == 0


class Mixing(NamedTuple):
    """A mixer written as a matrix: y = finish(matrix @ values)."""

    matrix: Tensor  # (B, H, T, S)
    values: Tensor  # (B, H, S, V)
    finish: Callable[[Tensor], Tensor]  # (B, H, T, V) -> (B, T, D)
