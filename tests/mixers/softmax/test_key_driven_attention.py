from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call, after_step, writers
from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.key_driven_attention import KeyDrivenAttention, allocate


def test_shares_are_rounded_and_add_up() -> None:
    weights = torch.tensor([[1.0, 1, 1], [0, 0, 1], [0, 0, 0], [0.5, 0.5, 0.1], [3, 1, 1]])
    assert allocate(weights, 8).tolist() == [[2, 3, 3], [0, 0, 8], [2, 3, 3], [3, 4, 1], [4, 2, 2]]
    random = torch.rand(500, 7) ** 4
    counts = allocate(random, 12)
    assert (counts.sum(1) == 12).all() and (counts >= 0).all()


def test_keys_serve_by_their_norms_in_each_sample() -> None:
    mixer = create_mixer(
        "key_driven_attention", 16, num_heads=8, num_kv_heads=2, allocation="keys", causal=False
    )
    x = torch.randn(3, 9, 16)
    keys = torch.stack([mixer.k(x)[..., :2], mixer.k(x)[..., 2:]], 1)
    for sample in range(3):
        norms = keys[sample].square().sum((1, 2)).sqrt()
        call = Call()
        found = mixer.mixing(x[sample : sample + 1], call=call)
        larger = int(norms.argmax())
        torch.testing.assert_close(found.values[0, 0], mixer.v(x[sample]).unflatten(-1, (2, 2))[:, larger])
        torch.testing.assert_close(found.values[0, 0], found.values[0, 7])  # the smaller one serves none


@pytest.mark.parametrize("allocation", ["average", "change"])
def test_statistics_are_written_after_steps_only(allocation: str) -> None:
    mixer: KeyDrivenAttention = create_mixer(
        "key_driven_attention", 16, allocation=allocation, every=2
    ).train()
    norms, seen = [], []
    for step in range(5):
        x, call = torch.randn(3, 6, 16) * (step + 1), Call()
        mixer(x, call=call)
        keys = mixer.k(x).unflatten(-1, (2, 4))
        norms.append(keys.square().sum((1, 3)).sqrt().mean(0).detach())
        assert len(seen) == 0 or torch.equal(mixer.weights, seen[-1])
        after_step(writers(mixer), call, step / 5)
        seen.append(mixer.weights.clone())
    torch.testing.assert_close(seen[0], norms[0])
    assert torch.equal(seen[1], seen[0]) and torch.equal(seen[3], seen[2])
    if allocation == "average":
        torch.testing.assert_close(seen[2], 0.9 * norms[2] + 0.1 * norms[0])
        torch.testing.assert_close(seen[4], 0.9 * norms[4] + 0.1 * seen[2])
    else:
        torch.testing.assert_close(seen[2], (norms[2] - norms[0]).abs())
        torch.testing.assert_close(seen[4], (norms[4] - norms[2]).abs())


def test_noise_has_the_mean_and_spread_of_what_it_is_taken_from() -> None:
    options = {"allocation": "equal", "positions": "none", "causal": False, "num_heads": 1, "num_kv_heads": 1}
    mixer = create_mixer("key_driven_attention", 16, perturb=True, **options)
    plain = create_mixer("key_driven_attention", 16, **options)
    plain.load_state_dict(mixer.state_dict())
    for m in (mixer, plain):
        torch.nn.init.eye_(m.out.weight)
    x = torch.randn(1, 400, 16) + 1
    noise = plain(x) - mixer.train()(x)
    torch.testing.assert_close(noise.mean(), plain(x).mean(), rtol=0, atol=0.05)
    torch.testing.assert_close(noise.std(), plain(x).std(), rtol=0.05, atol=0)
    torch.testing.assert_close(mixer.eval()(x), plain(x) - plain(x).mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allocation": "keys"}, "causal must be False with allocation='keys' or perturb"),
        ({"perturb": True}, "causal must be False with allocation='keys' or perturb"),
        ({"allocation": "norms"}, "unknown allocation 'norms'"),
        ({"num_kv_heads": 5}, "num_kv_heads must be 1 to num_heads=4, got 5"),
        ({"every": 0}, "every must be at least 1, got 0"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("key_driven_attention", 16, **options)
