"""LongNet's dilated attention."""

from __future__ import annotations

from collections.abc import Sequence

from anyformer.mixers import register_mixer
from anyformer.mixers.sparse._patterned import Branch, PatternedAttention
from anyformer.ops.masks import Blocks, Causal, Every, MaskSpec

Segments = str | Sequence[Sequence[int]]
"""Segment lengths with their rates: ``"64/1+256/4"`` or ``[(64, 1), (256, 4)]``."""


@register_mixer(
    "dilated_attention",
    examples=[
        {"segments": "4/1+8/2"},
        {"segments": "4/1+8/2+24/3", "num_heads": 2},
        {"segments": "6/1+12/3", "causal": False},
        {"segments": "5/1", "positions": "alibi"},
    ],
)
class DilatedAttention(PatternedAttention):
    """Attention among every r-th token of a segment, for several lengths w and rates r (Ding 2023, eq. 2-10).

    In branch (w, r) head h attends among the tokens of number h mod r (mod r) within each segment of w tokens. Branches
    are weighted by their softmax denominators (eq. 10), which makes one softmax over all their pairs: a key that two
    branches see counts twice. If rates grow as fast as segments, time is linear in the length, and the number of layers
    between any two tokens of a segment grows like the logarithm of its length.

    Args:
        num_heads: heads H.
        segments: pairs w/r, r a divisor of w. One rate must be 1, or some tokens would see nothing in some heads.
        positions: a position scheme by name, or a dict with ``name`` and its options.
        bias: biases on the projections.
    """

    class Options(PatternedAttention.Options):
        segments: Segments = "16/1+64/4"

        def branches(self) -> list[Branch]:
            found: list[Branch] = []
            for length, rate in read_segments(self.segments):
                own: MaskSpec = Blocks(length) & Causal() if self.causal else Blocks(length)
                if rate == 1:
                    found.append([(slice(None), own)])
                    continue
                groups = min(rate, self.num_heads)
                found.append([(slice(h, None, rate), Every(rate, h) & own) for h in range(groups)])
            return found

    options: Options


def read_segments(segments: Segments) -> list[tuple[int, int]]:
    """Read pairs of a segment length and its rate.

    Raises:
        ValueError: if they are not such pairs, or none has rate 1.
    """
    try:
        parts = segments.split("+") if isinstance(segments, str) else segments
        pairs = [tuple(map(int, part.split("/") if isinstance(part, str) else part)) for part in parts]
    except (TypeError, ValueError):
        pairs = []
    good = [len(pair) == 2 and 1 <= pair[1] <= pair[0] and pair[0] % pair[1] == 0 for pair in pairs]
    if not pairs or not all(good) or all(rate > 1 for _, rate in pairs):
        raise ValueError(
            "segments must be lengths with rates that divide them, one of rate 1, such as '64/1+256/4'; "
            f"got {segments!r}"
        )
    return [(length, rate) for length, rate in pairs]
