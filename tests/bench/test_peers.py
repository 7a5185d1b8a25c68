"""Duels with other libraries are about the same computation."""

from __future__ import annotations

import pytest
import torch

from anyformer.bench import peers


def small_duels() -> list[peers.Duel]:
    random = torch.Generator().manual_seed(0)
    found = [peers._wkv(random, 32, 8), peers._retention(random, 32), peers._window(random, 32)]
    return [*found, *peers._naive(random, 32)]


@pytest.mark.parametrize("index", range(6))
def test_a_duel_is_about_one_computation(index: int) -> None:
    """Where both have the same inputs and no weights of their own, they give the same."""
    duel = small_duels()[index]
    for name, make in duel.theirs.items():
        try:
            theirs = make()
        except ImportError:
            pytest.skip(f"{name} is not installed")
        if duel.what.startswith("Retention's core, 8 heads"):
            continue  # dense softmax attention is another function
        torch.testing.assert_close(duel.ours(*duel.inputs), theirs(*duel.inputs), rtol=1e-3, atol=1e-4)


def test_peers_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> peers.Function:
        raise ImportError("no such library")

    x = torch.randn(4)
    duel = peers.Duel("sine", (x,), torch.sin, {"the same": lambda: torch.sin, "another": missing})
    monkeypatch.setattr(peers, "duels", lambda: iter([duel]))
    table = peers.bench_peers()
    assert [row[:2] for row in table.rows] == [("sine", "forward"), ("sine", "training")]
    assert "another" in table.note


def test_crossing() -> None:
    base = [(2.0**i, 4.0**i) for i in range(5)]
    assert (
        peers._crossing([(2.0**i, 4 * 2.0**i) for i in range(5)], base)
        == "faster than dense attention from about 4 tokens"
    )
    assert (
        peers._crossing([(2.0**i, 0.5 * 2.0**i) for i in range(5)], base)
        == "faster than dense attention from 1 tokens or fewer"
    )
    assert (
        peers._crossing([(2.0**i, 1e3) for i in range(5)], base)
        == "slower than dense attention up to 16 tokens"
    )
