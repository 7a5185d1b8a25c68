"""Identities of RWKV-4, and its study."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.convert import from_hf
from anyformer.laws.checks import perturb
from anyformer.laws.measures import close
from anyformer.mixers.recurrent.rwkv4 import Rwkv4
from anyformer.ops.softmax_scan import softmax_scan
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "rwkv": "[rwkv4]*2 channel=rwkv4_channel norm=layer_norm embed=default(normed=true)",
        "attention": "[attention]*2 channel=rwkv4_channel norm=layer_norm embed=default(normed=true)",
    },
    options={"length": 64},
    smallest=0.05,
    expect="no worse",
    steps=1500,
    parameters=100_000,
)


def _peer() -> Any:
    """transformers' model, tiny, with no parameter left at a special value."""
    hf = peer("transformers")
    config = hf.RwkvConfig(vocab_size=31, hidden_size=16, num_hidden_layers=2, rescale_every=0)
    model = hf.RwkvForCausalLM(config).eval()
    perturb(model, 0.2)
    return model


@identity("transformers' RwkvForCausalLM under the same weights: logits, and the state after the last token")
def equals_transformers() -> None:
    theirs, x = _peer(), torch.randint(31, (2, 40))
    ours = from_hf(theirs)
    with torch.no_grad():
        expected = theirs(x, use_cache=True)
        y, state = ours.stream(x, ours.init_state(2))
    close("logits of the whole", ours(x), expected.logits, 1e-5)
    close("logits, streamed", y, expected.logits, 1e-5)
    found = [held for held in _dicts(state) if "m" in held]
    assert len(found) == 2
    for layer, held in enumerate(found):
        above, below, top = (expected.state[i][..., layer] for i in (2, 3, 4))
        close("the average held", held["u"] / held["w"], above / below, 1e-5)
        close("its weight", held["w"].log() + held["m"], below.log() + top, 1e-5)


def _dicts(tree: Any) -> list[dict[str, Any]]:
    parts = (
        list(tree.values())
        if isinstance(tree, dict)
        else list(tree)
        if isinstance(tree, (list, tuple))
        else []
    )
    return ([tree] if isinstance(tree, dict) else []) + [d for part in parts for d in _dicts(part)]


@identity("keys of size 100 do not overflow: the scan = transformers' loop")
def large_keys() -> None:
    loop = peer("transformers.models.rwkv.modeling_rwkv").rwkv_linear_attention_cpu
    k, v = 100 * torch.randn(2, 60, 8), torch.randn(2, 60, 8)
    decay, bonus = torch.randn(8), torch.randn(8)
    expected, _ = loop(decay, bonus, k, v)
    log_decay = -decay.exp()[None]
    mine = softmax_scan(
        k[:, None], v[:, None], log_decay.expand(2, 1, 60, 8), bonus=(bonus - decay.exp())[None]
    )[0]
    close(
        "wkv", mine[:, 0], expected, 1e-4
    )  # the loop computes in float32, where exponents of 100 are off by 1e-5


@identity("w = 0 and u = 0: softmax of the keys over each prefix")
def no_decay() -> None:
    mixer = Rwkv4(8).double()
    with torch.no_grad():
        mixer.log_decay.fill_(-60.0)
        mixer.bonus.zero_()
        for name in ("mix_key", "mix_value", "mix_receptance"):
            getattr(mixer, name).fill_(1.0)
    x = torch.randn(2, 30, 8, dtype=torch.float64)
    scores = mixer.key(x)[:, None].expand(2, 30, 30, 8)
    hidden = torch.ones(30, 30, dtype=torch.bool).triu(1)[..., None]
    weights: Tensor = scores.masked_fill(hidden, -torch.inf).softmax(2)
    average = torch.einsum("btsd,bsd->btd", weights, mixer.value(x))
    close("wkv", mixer(x), mixer.output(mixer.receptance(x).sigmoid() * average))
