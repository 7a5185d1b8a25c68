"""Against the reference functions of flash-linear-attention, which compute in float32."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention

pytest.importorskip("fla", reason="fla-core and triton are not installed")

B, H, T, K, V = 2, 3, 96, 8, 8


def reference(op: str, name: str):
    return getattr(importlib.import_module(f"fla.ops.{op}.naive"), name)


@pytest.fixture
def parts() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "q": torch.randn(B, H, T, K),
        "k": normalize(torch.randn(B, H, T, K), dim=-1),
        "v": torch.randn(B, H, T, V),
        "beta": torch.rand(B, H, T),
        "decay": logsigmoid(torch.randn(B, H, T)),
        "vector_decay": logsigmoid(torch.randn(B, H, T, K)),
        "initial": torch.randn(B, H, K, V),
    }


def close(mine: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_retention(parts):
    log_decay = (1 - 2.0 ** (-5 - torch.arange(H))).log()
    y, _ = linear_attention(parts["q"], parts["k"], parts["v"], log_decay=log_decay, scale=K**-0.5)
    close(y, reference("retention", "naive_retention")(parts["q"], parts["k"], parts["v"]))


def test_delta_rule(parts):
    arguments = [parts[k] for k in ("q", "k", "v", "beta")]
    y, final = delta_rule(arguments[0] * K**-0.5, *arguments[1:], initial=parts["initial"])
    theirs = reference("delta_rule", "delta_rule_recurrence")(*arguments, initial_state=parts["initial"])
    close(y, theirs[0])
    close(final, theirs[1])


def test_gated_delta_rule(parts):
    arguments = [parts[k] for k in ("q", "k", "v", "beta", "decay")]
    y, final = delta_rule(
        arguments[0] * K**-0.5, *arguments[1:4], log_decay=arguments[4], initial=parts["initial"]
    )
    theirs = reference("gated_delta_rule", "naive_recurrent_gated_delta_rule")(
        *(a.transpose(1, 2) for a in arguments), initial_state=parts["initial"], output_final_state=True
    )
    close(y, theirs[0].transpose(1, 2))
    close(final, theirs[1])


def test_vector_decay(parts):
    arguments = [parts[k] for k in ("q", "k", "v", "vector_decay")]
    y, final = linear_attention(
        *arguments[:3], log_decay=arguments[3], scale=K**-0.5, initial=parts["initial"]
    )
    theirs = reference("gla", "naive_recurrent_gla")(
        *(a.transpose(1, 2) for a in arguments), initial_state=parts["initial"], output_final_state=True
    )
    close(y, theirs[0].transpose(1, 2))
    close(final, theirs[1])
