"""Appending in place behind a cache must never show: old states stay good, whoever continues them."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor

from anyformer import Mixer, create_mixer
from anyformer.caches import _FULL, SPARE
from anyformer.models import create_model
from anyformer.state import State, leaves, map_state, select_rows, state_bytes

LENGTH = 3 * SPARE


def mixer(**options: object) -> Mixer:
    torch.manual_seed(0)
    return create_mixer("attention", 8, num_heads=2, **options).double().eval()


def stream(m: Mixer, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Token by token."""
    out = []
    for t in range(x.shape[1]):
        y, state = m.stream(x[:, t : t + 1], state)
        out.append(y)
    return torch.cat(out, 1), state


@pytest.mark.parametrize("window", [None, 1, 5, SPARE + 7])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_token_by_token_equals_the_whole(window: int | None, mode: type[AbstractContextManager]) -> None:
    m, x = mixer(window=window), torch.randn(2, LENGTH, 8, dtype=torch.float64)
    with mode():
        torch.testing.assert_close(stream(m, x, m.init_state(2))[0], m(x), atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("window", [None, 9])
@torch.no_grad()
def test_a_state_can_be_continued_in_several_ways(window: int | None) -> None:
    m = mixer(window=window)
    past, left, right = torch.randn(3, 2, 20, 8, dtype=torch.float64)
    _, state = stream(m, past, m.init_state(2))
    held = map_state(Tensor.clone, state)
    expected = [m(torch.cat([past, more], 1))[:, 20:] for more in (left, right)]
    y, state_left = stream(m, left, state)
    first, state_right = stream(m, right[:, :7], state)
    y_again, _ = stream(m, left, copy.deepcopy(state))
    rest, _ = stream(m, right[:, 7:], state_right)
    for got, wanted in ((y, 0), (y_again, 0), (torch.cat([first, rest], 1), 1)):
        torch.testing.assert_close(got, expected[wanted], atol=1e-10, rtol=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(leaves(held), leaves(state), strict=True))
    swapped = select_rows(state_left, torch.tensor([1, 1]))
    both, _ = stream(m, past[:1].repeat(2, 1, 1), swapped)
    whole = m(torch.cat([past[1:], left[1:], past[:1]], 1))[:, 40:]
    torch.testing.assert_close(both, whole.repeat(2, 1, 1), atol=1e-10, rtol=1e-9)


@torch.no_grad()
def test_decoding_does_not_copy_the_past() -> None:
    m, x = mixer(), torch.randn(1, LENGTH, 8, dtype=torch.float64)
    _, state = m.stream(x, m.init_state(1))
    copies, where = 0, None
    for t in range(SPARE):
        _, state = m.stream(x[:, t : t + 1], state)
        storage = state["own"]["k"].untyped_storage().data_ptr()
        copies, where = copies + (storage != where), storage
    assert copies <= 2
    assert state_bytes(state["own"]) == 2 * 8 * 8 * (LENGTH + SPARE) + 8


def test_inference_state_is_good_outside() -> None:
    m, x = mixer(), torch.randn(1, 12, 8, dtype=torch.float64)
    with torch.inference_mode():
        _, state = stream(m, x[:, :6], m.init_state(1))
    with torch.no_grad():
        y, _ = stream(m, x[:, 6:], state)
        torch.testing.assert_close(y, m(x)[:, 6:], atol=1e-10, rtol=1e-9)


@torch.no_grad()
def test_a_window_does_not_hold_the_whole_past() -> None:
    m = mixer(window=4)
    _, state = m.stream(torch.randn(1, 500, 8, dtype=torch.float64), m.init_state(1))
    assert state["own"]["k"].untyped_storage().nbytes() == 3 * 8 * 8


@torch.no_grad()
def test_samples_that_advance_differently() -> None:
    torch.manual_seed(1)
    for spec in ("transformer", "[attention(window=6)]*2", "fox", "transformer_xl"):
        model = create_model(f"{spec} dim=16", vocab_size=11).double().eval()
        x, real = torch.randint(0, 11, (3, 90)), torch.rand(3, 90) > 0.5
        state = model.init_state(3)
        for t in range(60):  # a mask in some steps only
            mask = real[:, t : t + 1] if t % 3 else None
            _, state = model.stream(x[:, t : t + 1], state, mask)
            if mask is None:
                real[:, t] = True
        y, _ = model.stream(x[:, 60:], state)
        for b in range(3):
            alone = torch.cat([x[b, :60][real[b, :60]], x[b, 60:]])[None]
            torch.testing.assert_close(y[b : b + 1], model(alone)[:, -30:], atol=1e-8, rtol=1e-8)


@torch.no_grad()
def test_fullness_is_known_of_a_state_and_not_of_a_ragged_one() -> None:
    m, x = mixer(), torch.randn(2, 8, 8, dtype=torch.float64)
    _, state = m.stream(x[:, :3], m.init_state(2))
    stored = state["own"]["stored"]
    assert _FULL.get(stored)
    mask = torch.tensor([[True, True], [True, False]])
    _, ragged = m.stream(x[:, 3:5], state, mask=mask)
    assert not _FULL.get(ragged["own"]["stored"])
    y, _ = m.stream(x[:, 5:], ragged)
    torch.testing.assert_close(y[1], m(torch.cat([x[1:, :4], x[1:, 5:]], 1))[0, 4:], atol=1e-10, rtol=1e-9)
    _, copied = m.stream(x[:, 3:4], map_state(Tensor.clone, state))  # looked at, as nobody knows a clone
    assert _FULL.get(copied["own"]["stored"])
