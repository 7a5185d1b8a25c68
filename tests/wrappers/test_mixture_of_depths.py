from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anyformer.channels import create_channel
from anyformer.contract import Call, Mixer
from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer
from anyformer.stack import Stack
from anyformer.wrappers import create_wrapper


def build(name: str = "attention", capacity: float = 0.5, **options: Any) -> Callable[[], Mixer]:
    def mixture_of_depths() -> Mixer:
        inner = Stack(16, [[create_mixer(name, 16, **options), create_channel("mlp", 16)]])
        return create_wrapper("mixture_of_depths", 16, [inner], capacity=capacity)

    return mixture_of_depths


def routed(y: Tensor) -> Tensor:
    return (y != 0).any(-1)


@pytest.mark.parametrize(
    "make",
    [build(), build(causal=False), build("longformer", window=3), build("pooling")],
    ids=["attention", "bidirectional", "longformer", "pooling"],
)
def test_laws(make: Callable[[], Mixer]) -> None:
    """Causal in evaluation, streamed = whole, padding: all of them, around several mixers."""
    check_mixer(make)


def test_training_routes_the_best_share_of_each_real_sequence() -> None:
    mixer = build(capacity=0.3)().train()
    x = torch.randn(3, 20, 16)
    mask = torch.arange(20) < torch.tensor([[20], [11], [1]])
    chosen = routed(mixer(x, mask=mask))
    assert chosen.sum(1).tolist() == [6, 4, 1]  # rounded up, of real tokens
    score = mixer.router(x)[..., 0].masked_fill(~mask, -torch.inf)
    for b, count in enumerate((6, 4, 1)):
        assert set(score[b].topk(count).indices.tolist()) == set(chosen[b].nonzero()[:, 0].tolist())


def test_routed_tokens_see_each_other_only() -> None:
    mixer = build(capacity=0.4)().double().train()
    x = torch.randn(1, 15, 16, dtype=torch.float64)
    y = mixer(x)
    chosen = routed(y)[0]
    positions = torch.arange(15.0)[None, chosen]
    alone = mixer.inner(x[:, chosen], positions=positions) * mixer.router(x[:, chosen])
    torch.testing.assert_close(y[:, chosen], alone)


def test_full_capacity_routes_all() -> None:
    mixer = build(capacity=1.0)().double().train()
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), mixer.inner(x) * mixer.router(x))


def test_training_looks_ahead_and_evaluation_does_not() -> None:
    mixer = build(capacity=0.25)()
    x = torch.randn(4, 16, 16)
    later = x.clone()
    later[:, 8:] = 3 * torch.randn_like(later[:, 8:])
    assert not torch.equal(routed(mixer.train()(x))[:, :8], routed(mixer(later))[:, :8])
    assert torch.equal(routed(mixer.eval()(x))[:, :8], routed(mixer(later))[:, :8])


def test_the_predictors_loss_reaches_only_the_predictor() -> None:
    mixer = build()()
    x = torch.randn(2, 12, 16, requires_grad=True)
    call = Call()
    mixer(x, call=call)
    call.losses["mixture_of_depths"].backward()
    got = {name for name, p in mixer.named_parameters() if p.grad is not None}
    assert x.grad is None and got == {f"predictor.{n}" for n, _ in mixer.predictor.named_parameters()}


def test_the_predictor_learns_the_routers_choice() -> None:
    """After training, evaluation routes nearly the tokens that training routes."""
    mixer = build(capacity=0.25)()
    data = torch.randn(64, 32, 16, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(mixer.predictor.parameters(), 0.01)
    for _ in range(150):
        call = Call()
        mixer.train()(data, call=call)
        optimizer.zero_grad()
        (100 * call.losses["mixture_of_depths"]).backward()
        optimizer.step()
    with torch.no_grad():
        agree = (routed(mixer.train()(data)) == routed(mixer.eval()(data))).float().mean()
    assert agree > 0.9  # routing nothing would agree on 0.75


def test_the_router_learns_through_its_weight() -> None:
    mixer = build()().train()
    mixer(torch.randn(2, 12, 16)).sum().backward()
    assert isinstance(mixer.router, nn.Linear) and mixer.router.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("capacity", [0.0, 1.5, -1.0])
def test_errors(capacity: float) -> None:
    with pytest.raises(ValueError, match="capacity must be above 0 and at most 1"):
        build(capacity=capacity)()
