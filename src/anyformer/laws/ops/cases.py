"""Example calls of every op, at any sizes: what the laws over ops are held on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyformer.ops import (
    Choice,
    attention,
    bucket_attention,
    choices,
    delta_rule,
    gathered_attention,
    general_delta_rule,
    linear,
    linear_attention,
    log_linear_attention,
    long_conv,
    lstm,
    masks,
    rms_norm,
    rotate,
    scan,
    select,
    selective_scan,
    short_conv,
    softmax_scan,
    sparse_attention,
    swiglu,
    vector_quantize,
)

HELPERS = frozenset({"can_attend", "recomputed"})
"""Functions of ops that compute nothing themselves."""


class Sizes(NamedTuple):
    """Of an example: batch, heads, tokens, key width, value width."""

    B: int = 2
    H: int = 2
    T: int = 21
    K: int = 4
    V: int = 6


@dataclass(frozen=True)
class OpCase:
    """A call of an op.

    Attributes:
        op: the function's name.
        label: what is special about this call.
        call: takes ``tensors`` by name and returns a tensor or tensors, nested in tuples.
        tensors: its arguments, floating ones in float64 unless the op has a way of its own for float32.
        fixed: tensors whose values hang together, so that a law may move them in memory but not change them.
    """

    op: str
    label: str
    call: Callable[..., Any]
    tensors: Mapping[str, Tensor]
    fixed: frozenset[str] = field(default=frozenset())

    def __str__(self) -> str:
        return f"{self.op}({self.label})" if self.label else self.op

    def at(self, sizes: Sizes) -> OpCase:
        """The same call at other sizes."""
        return next(case for case in op_cases(sizes, {self.op}) if case.label == self.label)


class _Draw:
    """Tensors in float64, the same every time."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(3)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, dtype=torch.float64)

    def decay(self, *shape: int) -> Tensor:
        return -self.uniform(*shape)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, max(high, low + 1), shape, generator=self._generator)

    def heads(self, s: Sizes) -> dict[str, Tensor]:
        """q, k (B, H, T, K), v (B, H, T, V)."""
        q, k = (self.normal(s.B, s.H, s.T, s.K) for _ in range(2))
        return {"q": q, "k": k / max(1, s.K) ** 0.5, "v": self.normal(s.B, s.H, s.T, s.V)}

    def grouped(self, s: Sizes) -> dict[str, Tensor]:
        """q (B, 2H, T, K), k (B, H, T, K), v (B, H, T, V)."""
        return {**self.heads(s), "q": self.normal(s.B, 2 * s.H, s.T, s.K)}


def op_cases(sizes: Sizes | None = None, ops: set[str] | None = None) -> list[OpCase]:
    """Calls of every op, or of ``ops``, at these sizes."""
    s = sizes or Sizes()
    return [case for make in _FAMILIES for case in make(_Draw(), s) if ops is None or case.op in ops]


def path_of(name: str, sizes: Sizes, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Choice:
    """The path that an op takes for its first example at these sizes without gradients, and why: as it runs."""
    case = op_cases(sizes, {name})[0]
    tensors = {n: t.to(device, dtype if t.is_floating_point() else t.dtype) for n, t in case.tensors.items()}
    with torch.no_grad(), choices() as taken:
        case.call(**tensors)
    return next(choice for choice in taken if choice.op == name)


def _linear_attention(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    op, given = linear_attention.linear_attention, r.heads(s)
    positive = {**given, "q": given["q"].exp(), "k": given["k"].exp()}
    state = r.normal(B, H, K, V)
    return [
        OpCase("linear_attention", "", op, given),
        OpCase("linear_attention", "head decay", op, {**given, "log_decay": r.decay(H), "initial": state}),
        OpCase(
            "linear_attention", "token decay", op, {**given, "log_decay": r.decay(B, H, T), "initial": state}
        ),
        OpCase("linear_attention", "channel decay", op, {**given, "log_decay": r.decay(B, H, T, K)}),
        OpCase(
            "linear_attention",
            "normalised",
            lambda **t: op(**t, normalize=True, scale=0.5),
            {**positive, "log_decay": r.decay(B, H, T), "initial": r.uniform(B, H, K, V + 1)},
        ),
        OpCase(
            "linear_attention", "both ways", lambda **t: op(**t, causal=False), {**given, "initial": state}
        ),
    ]


def _delta_rules(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    op, given = delta_rule.delta_rule, r.heads(s)
    beta, state = r.uniform(B, H, T), r.normal(B, H, K, V)
    more = {name: r.normal(B, H, T, K) / max(1, K) for name in ("a", "b")}
    weights, halves = r.uniform(B, H, T, 3), {"start": torch.full((B,), 5), "lengths": torch.full((B,), T)}
    log_linear = log_linear_attention.log_linear_attention
    return [
        OpCase("delta_rule", "", op, {**given, "beta": beta}),
        OpCase(
            "delta_rule",
            "decay",
            op,
            {**given, "beta": beta, "log_decay": r.decay(B, H, T), "initial": state},
        ),
        OpCase("general_delta_rule", "", general_delta_rule.general_delta_rule, {**given, **more}),
        OpCase(
            "general_delta_rule",
            "decay",
            general_delta_rule.general_delta_rule,
            {**given, **more, "log_decay": r.decay(B, H, T, K), "initial": state},
        ),
        OpCase("log_linear_attention", "", log_linear, {**given, "weights": weights}),
        OpCase(
            "log_linear_attention",
            "delta rule, continued",
            log_linear,
            {
                **given,
                **halves,
                "weights": weights,
                "beta": beta,
                "log_decay": r.decay(B, H, T),
                "initial": r.normal(B, H, 3, K, V),
            },
            frozenset(halves),
        ),
    ]


def _scans(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    op = scan.scan
    a, b, first = r.uniform(B, H, T, K), r.normal(B, H, T, K), r.normal(B, H, K)
    turn = torch.polar(r.uniform(B, T, K), r.normal(B, T, K))
    return [
        OpCase("scan", "", op, {"a": a, "b": b}),
        OpCase("scan", "initial", op, {"a": a, "b": b, "initial": first}),
        OpCase("scan", "reversed", lambda **t: op(**t, reverse=True), {"a": a, "b": b, "initial": first}),
        OpCase("scan", "shared by columns", op, {"a": r.uniform(B, H, T, 1), "b": b, "initial": first}),
        OpCase("scan", "shared by time", op, {"a": r.uniform(H, 1, K), "b": b, "initial": first}),
        OpCase("scan", "complex", op, {"a": turn, "b": torch.complex(r.normal(B, T, K), r.normal(B, T, K))}),
        *_softmax_scans(r, s),
    ]


def _softmax_scans(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, _, V = s

    def op(m: Tensor | None = None, u: Tensor | None = None, w: Tensor | None = None, **t: Tensor) -> Any:
        state = None if m is None or u is None or w is None else softmax_scan.SoftmaxState(m.detach(), u, w)
        return softmax_scan.softmax_scan(**t, initial=state)

    given = {"scores": r.normal(B, H, T), "v": r.normal(B, H, T, V)}
    channels = {"scores": r.normal(B, H, T, V), "v": given["v"]}
    state = {"m": r.normal(B, H, 1), "u": r.normal(B, H, V), "w": r.uniform(B, H, 1) + 0.5}
    wide = {"m": r.normal(B, H, V), "u": r.normal(B, H, V), "w": r.uniform(B, H, V) + 0.5}
    return [
        OpCase("softmax_scan", "", op, given),
        OpCase("softmax_scan", "decay", op, {**given, **state, "log_decay": r.decay(B, H, T)}),
        OpCase(
            "softmax_scan", "head decay, bonus", op, {**given, "log_decay": r.decay(H), "bonus": r.normal(H)}
        ),
        OpCase("softmax_scan", "channels", op, {**channels, **wide, "log_decay": r.decay(B, H, T, V)}),
        OpCase("softmax_scan", "wkv", op, {**channels, "log_decay": r.decay(H, V), "bonus": r.normal(H, V)}),
    ]


def _selective_scans(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, _ = s
    D, op = 3 * H, selective_scan.selective_scan
    given = {
        "x": r.normal(B, D, T),
        "dt": r.uniform(B, D, T),
        "A": r.decay(D, K),
        "B_": r.normal(B, K, T),
        "C_": r.normal(B, K, T),
    }
    more = {"skip": r.normal(D), "initial": r.normal(B, D, K), "gate": r.normal(B, D, T)}
    return [
        OpCase("selective_scan", "", op, given),
        OpCase("selective_scan", "all of it", lambda **t: op(**t, dt_softplus=True), {**given, **more}),
    ]


def _convolutions(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, _ = s
    D, W = 3 * H, max(1, K)
    short, long = short_conv.short_conv, long_conv.long_conv
    x, across, skip = r.normal(B, T, D), r.normal(B, D, T), r.normal(D)
    taps = {"x": x, "weight": r.normal(D, W)}
    grid = {"x": r.normal(B, D, T, 3), "kernel": r.normal(D, 3, 3)}
    return [
        OpCase("short_conv", "", short, taps),
        OpCase(
            "short_conv",
            "all of it",
            lambda **t: short(**t, activation="silu"),
            {**taps, "bias": r.normal(D), "past": r.normal(B, W - 1, D)},
        ),
        OpCase("long_conv", "", long, {"x": across, "kernel": r.normal(D, 9), "skip": skip}),
        OpCase(
            "long_conv", "stream", long, {"x": across, "kernel": r.normal(D, 9), "past": r.normal(B, D, 4)}
        ),
        OpCase(
            "long_conv",
            "both ways",
            lambda **t: long(**t, causal=False),
            {"x": across, "kernel": r.normal(D, 9)},
        ),
        OpCase("long_conv_nd", "", long_conv.long_conv_nd, {**grid, "skip": skip}),
        OpCase("long_conv_nd", "both ways", lambda **t: long_conv.long_conv_nd(**t, causal=False), grid),
    ]


def _attention(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    op: Callable[..., Any] = attention.attention
    given, grouped = r.heads(s), r.grouped(s)
    places = {"q_place": r.uniform(B, H, T) * 5, "k_place": r.uniform(B, H, T) * 5}
    tile_of = partial(attention.attend_tile, scale=0.5)
    tile = {**grouped, "visible": r.uniform(B, 1, T, T) < 0.7}

    def placed(q_place: Tensor, k_place: Tensor, **t: Tensor) -> Any:
        return op(**t, places=(q_place, k_place), return_lse=True)

    def parts(y0: Tensor, lse0: Tensor, y1: Tensor, lse1: Tensor) -> Any:
        return attention.merge([(y0, lse0), (y1, lse1)])

    apart = {
        "y0": given["v"],
        "lse0": r.normal(B, H, T),
        "y1": r.normal(B, H, T, V),
        "lse1": r.normal(B, H, T),
    }
    return [
        OpCase("attention", "", op, given),
        OpCase("attention", "causal", lambda **t: op(**t, causal=True), grouped),
        OpCase("attention", "one width", op, {**given, "v": given["k"] + 1}),
        OpCase(
            "attention",
            "one width, causal",
            lambda **t: op(**t, causal=True),
            {**grouped, "v": grouped["k"] + 1},
        ),
        OpCase("attention", "log-sum-exp", lambda **t: op(**t, causal=True, return_lse=True), grouped),
        OpCase("attention", "visible", op, tile),
        OpCase("attention", "bias", op, {**given, "bias": r.normal(1, H, T, T)}),
        OpCase("attention", "places", placed, {**given, **places}),
        OpCase("attention", "sigmoid", lambda **t: op(**t, normalizer="sigmoid"), given),
        OpCase("merge", "", parts, apart),
        OpCase("attend_tile", "", tile_of, tile),
        OpCase("distance", "", attention.distance, places),
    ]


def _sparse_attention(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, _, _ = s
    given, op = r.grouped(s), sparse_attention.sparse_attention
    window = masks.Window(3, 0) & masks.Causal()
    dilated = masks.Dilated(9, 0, 3) & masks.Causal()
    index = torch.stack(
        [torch.randperm(T, generator=torch.Generator().manual_seed(b)) for b in range(B)]
        or [torch.zeros(T, dtype=torch.int64)]
    )[:B]
    marked = {"global_mask": torch.arange(T).expand(B, T) % 7 == 2}
    order = {"q_index": index, "k_index": index.clone()}

    def masked(spec: masks.MaskSpec) -> Callable[..., Any]:
        return lambda **t: op(t.pop("q"), t.pop("k"), t.pop("v"), spec, return_lse=True, **t)

    return [
        OpCase("sparse_attention", "window", masked(window), given),
        OpCase("sparse_attention", "dilated", masked(dilated), given),
        OpCase(
            "sparse_attention",
            "global",
            masked((window | masks.Global()) & masks.Causal()),
            {**given, **marked},
            frozenset(marked),
        ),
        OpCase("sparse_attention", "in any order", masked(window), {**given, **order}, frozenset(order)),
        *_listed_attention(r, s),
    ]


def _listed_attention(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    given, op = r.grouped(s), bucket_attention.bucket_attention
    buckets = {"q_bucket": r.integers(0, 3, B, 2 * H, T), "k_bucket": r.integers(0, 3, B, 2 * H, T)}
    numbers = {"q_index": r.integers(0, 40, B, 2 * H, T), "k_index": r.integers(0, 40, B, 2 * H, T)}
    slots = {"slots": r.integers(-1, T, B, 2 * H, T, 5)}
    spans = {"start": r.integers(0, 5, B, T), "stop": r.integers(5, 9, B, T)}
    gathered = gathered_attention.gathered_attention
    return [
        OpCase("bucket_attention", "", op, {**given, **buckets}, frozenset(buckets)),
        OpCase(
            "bucket_attention",
            "numbered",
            lambda **t: op(**t, causal=True),
            {**given, **buckets, **numbers},
            frozenset({**buckets, **numbers}),
        ),
        OpCase("key_spans", "", bucket_attention.key_spans, {**buckets, **numbers}),
        OpCase("visited_tiles", "", lambda **t: bucket_attention.visited_tiles(**t, keys=T, tile=4), spans),
        OpCase("gathered_attention", "", gathered, {**given, **slots}),
        OpCase("gathered_attention", "bias", gathered, {**given, **slots, "bias": r.normal(B, 1, T, 5)}),
    ]


def _selections(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, _ = s
    heads, grouped = r.heads(s), r.grouped(s)
    q, k = heads["q"], heads["k"]
    pages = {"q": q, "low": -r.uniform(B, H, 3, K), "high": r.uniform(B, H, 3, K)}
    bucket, index = r.integers(0, 3, B, H, T), torch.arange(T).expand(B, H, T).clone()
    numbers = {"q_bucket": bucket, "k_bucket": bucket, "q_index": index, "k_index": index}

    def nearest(q: Tensor, k: Tensor) -> Tensor:
        return select.nearest_keys(q, k, 3, causal=True)

    return [
        OpCase("best_keys", "", lambda scores: select.best_keys(scores, 3), {"scores": r.normal(B, H, T, 9)}),
        OpCase("nearest_keys", "", nearest, {"q": grouped["q"], "k": k}),
        OpCase("lift", "", select.lift, {"q": q, "k": k}),
        OpCase("hash_buckets", "", select.hash_buckets, {"x": q, "directions": r.normal(H, K, 3)}),
        OpCase("nearest_centroid", "", select.nearest_centroid, {"x": q, "centroids": r.normal(H, 5, K)}),
        OpCase("latest_of_bucket", "", lambda **t: select.latest_of_bucket(**t, count=2), numbers),
        OpCase("page_bound", "", select.page_bound, pages),
        OpCase("best_blocks", "", lambda q, k: select.best_blocks(q, k, 3, 1), {"q": q, "k": k}),
        OpCase("vertical_slash", "", lambda q, k: select.vertical_slash(q, k, 2, 2, 4), {"q": q, "k": k}),
    ]


def _maps(r: _Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    x, angles = r.normal(B, T, K), r.normal(B, T, K)
    product = {"x": x, "weight": r.normal(V, K), "bias": r.normal(V)}
    turned = {"x": r.normal(B, H, T, 2 * K), "cos": angles.cos(), "sin": angles.sin()}
    recurrent = {
        "x": x,
        "weight": r.normal(4 * V, K),
        "recurrent": r.normal(4 * V, V) * 0.3,
        "bias": r.normal(4 * V),
    }
    first = {"y": r.normal(B, V), "c": r.normal(B, V)}

    def run(y: Tensor | None = None, c: Tensor | None = None, **t: Tensor) -> Any:
        state = None if y is None or c is None else lstm.LstmState(y, c)
        return lstm.lstm(**t, initial=state)

    return [
        OpCase("linear", "", linear.linear, product),
        OpCase("linear", "float32", linear.linear, {n: t.float() for n, t in product.items()}),
        OpCase("linear", "few rows", linear.linear, {**product, "x": r.normal(min(2, T), K)}),
        OpCase("rms_norm", "", rms_norm.rms_norm, {"x": x, "weight": r.normal(K)}),
        OpCase("rms_norm", "without weight", rms_norm.rms_norm, {"x": x}),
        OpCase("rotate", "", rotate.rotate, turned),
        OpCase(
            "rotate", "shared", rotate.rotate, {**turned, "cos": turned["cos"][:1], "sin": turned["sin"][:1]}
        ),
        OpCase("swiglu", "", swiglu.swiglu, {"gate": x, "up": angles}),
        OpCase("lstm", "", run, {**recurrent, **first}),
        OpCase(
            "lstm",
            "lengths",
            run,
            {**recurrent, "lengths": torch.arange(B) % (T + 1)},
            frozenset(["lengths"]),
        ),
        OpCase(
            "vector_quantize",
            "",
            vector_quantize.vector_quantize,
            {"x": x, "codebook": r.normal(5, K)},
            frozenset(["codebook"]),  # of equal entries any is the nearest
        ),
    ]


_FAMILIES: tuple[Callable[[_Draw, Sizes], list[OpCase]], ...] = (
    _linear_attention,
    _delta_rules,
    _scans,
    _selective_scans,
    _convolutions,
    _attention,
    _sparse_attention,
    _selections,
    _maps,
)
