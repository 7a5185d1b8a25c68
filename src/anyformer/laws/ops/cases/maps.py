"""Example calls of ops on single tokens (products, norms, rotations, gates), of the LSTM and of codebooks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.laws.ops.cases.case import Draw, OpCase, Sizes, op_family
from anyformer.ops import linear, lstm, rms_norm, rotate, swiglu, vector_quantize


@op_family
def _maps(r: Draw, s: Sizes) -> list[OpCase]:
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
            frozenset(["codebook"]),  # of equal entries, any may count as the nearest
        ),
    ]
