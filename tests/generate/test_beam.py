"""Beam search against its definition, against every continuation there is, and against greedy search."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from anyformer.generate import generate
from anyformer.generate.beam import beam_search, definition
from anyformer.models import SequenceModel, create_model
from anyformer.schema import Stream

VOCABULARY, STOP, LONGEST = 4, 0, 3
SPECS = ["retnet dim=16 depth=1", "encoder_decoder dim=16 depth=1"]


def build(spec: str) -> SequenceModel:
    torch.manual_seed(3)
    model = create_model(
        spec, vocab_size=VOCABULARY, source={"vocab_size": VOCABULARY}, head="linear(tied=false)"
    )
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))  # so that continuations are not nearly as likely as each other
    return model.double().eval()


def inputs() -> tuple[Stream, Tensor]:
    source = torch.randint(VOCABULARY, (6, 5), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([[5], [3], [1], [4], [5], [2]])
    return Stream(source, mask), torch.ones(6, 1, dtype=torch.int64)


def following(model: SequenceModel, b: int) -> Callable[[tuple[int, ...]], Tensor]:
    source, prompt = inputs()
    mine = source.map(lambda value: value[b : b + 1])

    def logs(y: tuple[int, ...]) -> Tensor:
        x = torch.cat([prompt[b : b + 1], torch.tensor([y], dtype=torch.int64)], 1)
        with torch.no_grad():
            return model(x, source=mine)[0, -1].log_softmax(-1)

    return logs


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("spec", SPECS)
def test_equals_its_definition(spec: str, width: int) -> None:
    model = build(spec)
    source, prompt = inputs()
    found = beam_search(model, prompt, LONGEST, stop_token=STOP, width=width, source=source)
    for b in range(len(prompt)):
        y, score = definition(following(model, b), LONGEST, stop_token=STOP, width=width)
        mine = tuple(found.tokens[b].tolist())
        assert mine[: len(y)] == y and set(mine[len(y) :]) <= {STOP}
        assert abs(float(found.scores[b]) - score) < 1e-9


@pytest.mark.parametrize("spec", SPECS)
def test_a_wide_beam_finds_the_likeliest_of_all(spec: str) -> None:
    model = build(spec)
    source, prompt = inputs()
    every = VOCABULARY**LONGEST
    found = beam_search(model, prompt, LONGEST, stop_token=STOP, width=every, source=source)
    narrow = beam_search(model, prompt, LONGEST, stop_token=STOP, width=1, source=source)
    for b in range(len(prompt)):
        logs, scores = following(model, b), {}
        for tokens in product(range(VOCABULARY), repeat=LONGEST):
            end = tokens.index(STOP) + 1 if STOP in tokens else LONGEST
            y = tokens[:end]
            if y not in scores:
                scores[y] = sum(float(logs(y[:i])[token]) for i, token in enumerate(y))
        best = max(scores, key=lambda y: scores[y])
        assert tuple(found.tokens[b].tolist())[: len(best)] == best
        assert abs(float(found.scores[b]) - scores[best]) < 1e-9
    assert (narrow.scores <= found.scores + 1e-9).all() and (narrow.scores < found.scores - 1e-6).any()


@pytest.mark.parametrize("spec", SPECS)
def test_one_hypothesis_is_greedy_search(spec: str) -> None:
    model = build(spec)
    source, prompt = inputs()
    greedy = generate(model, prompt, LONGEST, source=source, temperature=0, stop_token=STOP)
    found = beam_search(model, prompt, LONGEST, stop_token=STOP, width=1, source=source).tokens
    assert torch.equal(found, greedy[:, : found.shape[1]]) and (greedy[:, found.shape[1] :] == STOP).all()


def test_wrong_arguments() -> None:
    source, prompt = inputs()
    with pytest.raises(ValueError, match="width and max_new_tokens must be at least 1, got 0 and 4"):
        beam_search(build(SPECS[0]), prompt, 4, stop_token=STOP, width=0, source=source)
