"""Example calls of recurrences, of linear attention and of convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.laws.ops.cases.case import Draw, OpCase, Sizes, op_family
from anyformer.ops import (
    delta_rule,
    general_delta_rule,
    linear_attention,
    log_linear_attention,
    long_conv,
    scan,
    selective_scan,
    short_conv,
    softmax_scan,
)


@op_family
def _linear_attention(r: Draw, s: Sizes) -> list[OpCase]:
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


@op_family
def _delta_rules(r: Draw, s: Sizes) -> list[OpCase]:
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


@op_family
def _scans(r: Draw, s: Sizes) -> list[OpCase]:
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


def _softmax_scans(r: Draw, s: Sizes) -> list[OpCase]:
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


@op_family
def _selective_scans(r: Draw, s: Sizes) -> list[OpCase]:
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


@op_family
def _convolutions(r: Draw, s: Sizes) -> list[OpCase]:
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
