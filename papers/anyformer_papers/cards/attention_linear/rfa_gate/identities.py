"""RFA with sentential gates."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from anyformer.contract import Call
from anyformer.mixers.rfa import RandomFeatureAttention
from anyformer.testing.measures import close
from anyformer_papers.card import Card
from anyformer_papers.study import Study

card = Card(
    slug="rfa-gate",
    what="Random feature attention in a document translator: a linear attention whose features estimate softmax's "
    "kernel. Its state fades as a whole where a sentence begins, and nowhere else.",
    parts=("mixer rfa", "op linear_attention"),
    differs="S_t = g_t S_{t-1} + phi(k_t) v_t^T with g_t below one at sentence starts only; gated RFA and gated "
    "linear attention have a gate at each token, linear attention has none, and elu + 1 for phi.",
    followed="paper",
    notes="Sentence starts come in as the side input sentence_start. Sums of weights are kept above 0.01, as "
    "estimates of a positive kernel can be negative. The paper's cross-attention to the source has the same features "
    "and no gate; it is not a part of its own.",
    claim="At similar or better quality than with softmax attention (BLEU, and perplexity on WikiText-103), "
    "decoding is much faster on long documents; the gate improves it.",
    study=Study(  # a language model in the place of the translator's decoder
        task="bytes",
        arms={
            "rfa": "[rfa]*2 positions=sinusoidal",
            "attention": "[attention]*2 positions=sinusoidal",
        },
        options={"length": 64},
        smallest=0.05,
        expect="no worse",
        steps=1500,
        parameters=100_000,
    ),
)


@card.exact("phi(q) phi(k) is the Gaussian kernel of unit vectors, to 3 / sqrt(D)")
def kernel() -> None:
    for D in (256, 16384):
        mixer = RandomFeatureAttention(8, num_heads=1, num_features=D).double()
        q, k = normalize(torch.randn(2, 1, 1, 40, 8, dtype=torch.float64), dim=-1)
        expected = (-torch.cdist(q, k).square() / 2).exp()
        close(f"{D} draws", mixer.features(q) @ mixer.features(k).mT, expected, 3 * D**-0.5)


@card.exact("with many draws it is softmax attention of unit queries and keys, causal and not")
def softmax() -> None:
    for causal in (True, False):
        mixer = RandomFeatureAttention(8, num_heads=1, num_features=40_000, causal=causal).double()
        x = torch.randn(1, 12, 8, dtype=torch.float64)
        q, k = (normalize(layer(x), dim=-1) for layer in (mixer.q, mixer.k))
        scores = q @ k.mT
        hidden = torch.ones(12, 12, dtype=torch.bool).triu(1) & causal
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        close("softmax", mixer(x), mixer.out(weights @ mixer.v(x)), 0.03)


@card.exact("gates at one, or no sentence starts, are RFA; gates at zero make each sentence one of its own")
def gates() -> None:
    gated, plain = (RandomFeatureAttention(16, sentence_gate=g).double() for g in (True, False))
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("gate")})
    x, start = torch.randn(2, 30, 16, dtype=torch.float64), torch.zeros(2, 30, dtype=torch.bool)
    call = Call(side={"sentence_start": start})
    assert gated.gate is not None
    close("no sentence starts", gated(x, call=call), plain(x))
    start[:, [0, 11, 20]] = True
    with torch.no_grad():
        gated.gate.weight.zero_()
        gated.gate.bias.fill_(50.0)
    close("open", gated(x, call=call), plain(x))
    with torch.no_grad():
        gated.gate.bias.fill_(-50.0)
    alone = torch.cat([plain(part) for part in x.split([11, 9, 10], 1)], 1)
    close("shut", gated(x, call=call), alone)
