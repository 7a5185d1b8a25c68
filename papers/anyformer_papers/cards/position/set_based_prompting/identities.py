"""Identities of Set-Based Prompting."""

from __future__ import annotations

import itertools

import torch

from anyformer.contract import Call
from anyformer.convert import from_hf
from anyformer.laws.measures import close
from anyformer.models import SequenceModel, create_model
from anyformer.positions import set_prompt
from anyformer_papers.identity import identity, peer

MEMBERS = [torch.tensor(member) for member in ([7, 2, 9], [3], [5, 5, 1, 8], [6, 4])]
PREFIX, SUFFIX = torch.tensor([1, 2, 3]), torch.tensor([9, 8, 1])
SPECS = (
    "[attention]*2 dim=16 positions=rope",
    "[attention]*2 dim=16 positions=learned(max_length=64)",
    "[attention]*2 dim=16 positions=shaw",
    "[attention]*2 dim=16 positions=alibi",
)


def prompt(members: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, positions and parts of the prompt with the members in this order."""
    positions, part = set_prompt(len(PREFIX), [len(m) for m in members], len(SUFFIX))
    return torch.cat([PREFIX, *members, SUFFIX])[None], positions, part


def run(model: SequenceModel, members: list[torch.Tensor]) -> torch.Tensor:
    x, positions, part = prompt(members)
    return model(x, positions=positions, call=Call(side={"part": part}))[:, -len(SUFFIX) :]


@identity(
    "all orders of four members give the same logits behind them, in four kinds of positions; plain prompts do not"
)
def no_order() -> None:
    for spec in SPECS:
        model = create_model(spec, vocab_size=10).double()
        first = run(model, MEMBERS)
        plain = model(prompt(MEMBERS)[0])
        for order in itertools.permutations(MEMBERS):
            close(spec, run(model, list(order)), first, 1e-12)
        assert float((model(prompt(MEMBERS[::-1])[0]) - plain)[:, -1].abs().max().detach()) > 1e-6


@identity("going on from the cached prompt gives the same tokens for every order")
def generated() -> None:
    model = create_model(SPECS[0], vocab_size=10).double().eval()
    texts = set()
    for order in itertools.permutations(MEMBERS):
        x, positions, part = prompt(list(order))
        y, state = model.stream(x, model.init_state(1), positions=positions, call=Call(side={"part": part}))
        text, place = [], positions[:, -1:]
        for _ in range(12):
            token, place = y[:, -1:].argmax(-1), place + 1
            text.append(int(token))
            y, state = model.stream(token, state, positions=place)
        texts.add(tuple(text))
    assert len(texts) == 1, texts


@identity("a set of one member is an ordinary prompt")
def one_member() -> None:
    for spec in SPECS:
        model = create_model(spec, vocab_size=10).double()
        close(spec, run(model, [MEMBERS[0]]), model(prompt([MEMBERS[0]])[0])[:, -len(SUFFIX) :], 1e-12)


@identity("transformers' Llama under a mask of all pairs and the same position ids gives the same logits")
def equals_transformers() -> None:
    transformers = peer("transformers")
    config = transformers.LlamaConfig(
        vocab_size=10,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        attn_implementation="eager",
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    ours = from_hf(theirs)
    x, positions, part = prompt(MEMBERS)
    T = x.shape[1]
    mine, other = part[0, :, None], part[0]
    sees = ((mine == 0) | (other == 0) | (mine == other)) & torch.ones(T, T, dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, T, T).masked_fill(~sees, torch.finfo(torch.float32).min)
    expected = theirs(x, attention_mask=mask, position_ids=positions.long()).logits
    close("logits", run(ours, MEMBERS), expected[:, -len(SUFFIX) :], 1e-5)
