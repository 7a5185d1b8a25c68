"""Sampling: equals greedy search by hand, prompts of different lengths, filters, errors."""

from __future__ import annotations

import pytest
import torch

from anyformer.generate import generate, sample
from anyformer.models import create_model

torch.manual_seed(0)
MODEL = create_model("retnet dim=16", vocab_size=9).double()


def test_greedy_is_the_argmax_of_the_whole_each_time() -> None:
    prompt = torch.tensor([[1, 2, 3]])
    text = prompt
    for _ in range(6):
        text = torch.cat([text, MODEL.eval()(text)[:, -1:].argmax(-1)], 1)
    assert torch.equal(generate(MODEL, prompt, 6, temperature=0), text[:, 3:])


def test_prompts_of_different_lengths_padded_on_either_side() -> None:
    prompts = [torch.tensor([[4, 5, 6, 7]]), torch.tensor([[8, 1]])]
    alone = [generate(MODEL, p, 5, temperature=0) for p in prompts]
    for left in (False, True):
        batch, mask = torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.bool)
        for b, p in enumerate(prompts):
            where = slice(4 - p.shape[1], 4) if left else slice(0, p.shape[1])
            batch[b, where], mask[b, where] = p[0], True
        assert torch.equal(generate(MODEL, batch, 5, mask=mask, temperature=0), torch.cat(alone))


def test_a_stop_token_ends_a_sample() -> None:
    first = int(generate(MODEL, torch.tensor([[1]]), 1, temperature=0))
    out = generate(MODEL, torch.tensor([[1]]), 4, temperature=0, stop_token=first)
    assert out.tolist() == [[first] * 4]


def test_filters_keep_the_likeliest() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4000, -1)
    generator = torch.Generator().manual_seed(0)
    assert set(sample(logits, top_k=2, generator=generator).tolist()) == {0, 1}
    assert set(sample(logits, top_p=0.6, generator=generator).tolist()) == {0, 1}
    assert set(sample(logits, top_p=0.01, generator=generator).tolist()) == {0}
    share = (sample(logits, generator=generator) == 0).float().mean()
    assert abs(float(share) - 0.5) < 0.03


def test_training_mode_is_restored() -> None:
    MODEL.train()
    generate(MODEL, torch.tensor([[1]]), 2)
    assert MODEL.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature must not be negative"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"mask": torch.zeros(1, 1, dtype=torch.bool)}, "mask must be bool"),
        ({"max_new_tokens": -1}, "max_new_tokens must not be negative"),
    ],
)
def test_errors(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(MODEL, **({"prompt": torch.tensor([[1]]), "max_new_tokens": 2} | options))
    with pytest.raises(ValueError, match="prompt must be"):
        generate(MODEL, torch.zeros(1, 0, dtype=torch.int64), 2)
