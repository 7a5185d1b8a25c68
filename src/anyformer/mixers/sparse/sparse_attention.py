"""The factorised attention of the Sparse Transformer."""

from __future__ import annotations

from anyformer.mixers import register_mixer
from anyformer.mixers.sparse._patterned import Branch, PatternedAttention
from anyformer.ops.masks import Blocks, Causal, Columns, Dilated, MaskSpec, Window

PARTS = ("local", "far", "merged", "heads")


@register_mixer(
    "sparse_attention",
    examples=[
        {"stride": 4},
        {"stride": 4, "part": "far", "positions": "alibi"},
        {"stride": 3, "part": "heads", "causal": False},
        {"pattern": "fixed", "stride": 5, "summary": 2},
        {"pattern": "fixed", "stride": 6, "summary": 2, "part": "heads", "subblocks": 2},
        {"pattern": "fixed", "stride": 4, "summary": 1, "part": "local", "causal": False},
    ],
)
class SparseAttention(PatternedAttention):
    """Two factors that reach every earlier token in two steps (Child 2019, sections 4.2 and 4.3).

    With l = ``stride`` and c = ``summary``, query i sees of the keys j <= i::

                 local                              far
        strided  i - j < l                          (i - j) mod l = 0
        fixed    floor(i / l) = floor(j / l)        l - c <= j mod l

    A stride near the root of the length makes time grow like n^1.5; for a given stride it is n^2 / l.

    Args:
        num_heads: heads H.
        pattern: ``strided`` or ``fixed``.
        stride: l.
        summary: c, for ``fixed``.
        part: the factor of this layer: ``local`` or ``far`` (for alternating layers, eq. 5), both ``merged`` (eq. 6),
            or one for half of the ``heads`` and the other for the rest (eq. 7).
        subblocks: for ``fixed``, the number of different sets of c columns, from a block's end back, that heads take in
            turn.
        positions: a position scheme by name, or a dict with ``name`` and its options.
        causal: without it, the same in both directions.
        bias: biases on the projections.
    """

    class Options(PatternedAttention.Options):
        pattern: str = "strided"
        stride: int = 16
        summary: int = 4
        part: str = "merged"
        subblocks: int = 1

        def branches(self) -> list[Branch]:
            pattern, stride, summary, part = self.pattern, self.stride, self.summary, self.part
            num_heads, subblocks = self.num_heads, self.subblocks
            if pattern not in ("strided", "fixed"):
                raise ValueError(f"pattern must be 'strided' or 'fixed', got {pattern!r}")
            if part not in PARTS:
                raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
            if stride < 2:
                raise ValueError(f"stride must be at least 2, got {stride}")
            if pattern == "strided" and subblocks != 1:
                raise ValueError(f"subblocks must be 1 with pattern='strided', got {subblocks}")
            if summary < 1 or subblocks < 1 or (pattern == "fixed" and summary * subblocks > stride):
                raise ValueError(
                    f"summary * subblocks must be between 1 and stride={stride}, got {summary} * {subblocks}"
                )
            if part == "heads" and num_heads < 2:
                raise ValueError(f"num_heads must be at least 2 with part='heads', got {num_heads}")
            half = num_heads // 2 if part == "heads" else 0
            subblocks = min(subblocks, num_heads - half)
            local, far = _factors(pattern, stride, summary, self.causal, subblocks)
            branch: Branch = [(slice(0, half), local)] if half else []
            if part == "local":
                return [[(slice(None), local)]]
            for s, columns in enumerate(far):
                spec = local | columns if part == "merged" else columns
                branch.append((slice(half + s, None, subblocks), spec))
            return [branch]

    options: Options


def _factors(
    pattern: str, stride: int, summary: int, causal: bool, subblocks: int
) -> tuple[MaskSpec, list[MaskSpec]]:
    """Return the local factor, and the far one for each set of columns."""
    if pattern == "strided":
        ahead = 0 if causal else stride - 1
        return Window(stride - 1, ahead), [Dilated(None, 0 if causal else None, stride)]
    block: MaskSpec = Blocks(stride)
    far: list[MaskSpec] = [Columns(stride, stride - (s + 1) * summary, summary) for s in range(subblocks)]
    if causal:
        return block & Causal(), [columns & Causal() for columns in far]
    return block, far
