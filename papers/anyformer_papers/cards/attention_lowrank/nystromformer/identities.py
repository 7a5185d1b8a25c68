"""Nyströmformer."""

from __future__ import annotations

import torch

from anyformer.mixers import create_mixer
from anyformer.mixers.nystromformer import Nystromformer, newton_inverse
from anyformer.testing.measures import close
from anyformer_papers.card import Card, peer
from anyformer_papers.study import Study

card = Card(
    slug="nystromformer",
    what="Softmax attention by the Nyström method: every token looks at m landmarks, means of queries and keys over "
    "equal segments, and these at every token; between the two stands the pseudo-inverse of what the landmarks make "
    "of each other, found by iteration. A convolution of the values goes past it all.",
    parts=("mixer nystromformer", "model nystromformer"),
    differs="y = softmax(q K'^T) softmax(Q' K'^T)^+ softmax(Q' k^T) v + conv(v). Softmax attention is softmax(q "
    "k^T) v; Linformer mixes keys and values by learned weights instead of means and needs no inverse, but a limit.",
    followed="paper",
    notes="Z starts from A^T / (|A|_1 |A|_inf) of each matrix, as in the paper; the released code takes the largest "
    "norm of the whole batch, so that a sample's output depends on the others. The released code wants lengths that "
    "m divides and lets padding into the landmarks; here segments are of the real tokens, equal but for one. After "
    "the six iterations that are the default A^+ is still off in the third digit for random inputs.",
    claim="In O(n) it is comparable to softmax attention on GLUE and IMDB, on a few tasks slightly better.",
    study=Study(
        task="lookup",
        arms={
            "nystromformer": "[nystromformer(num_landmarks=8, conv_width=5)]*2 causal=false positions=sinusoidal",
            "attention": "[attention]*2 causal=false positions=sinusoidal",
        },
        smallest=0.05,
        expect="no worse",
        steps=400,
        parameters=30_000,
    ),
)


@card.exact("with every token its own landmark it is softmax attention, to the accuracy of the inverse")
def all_tokens() -> None:
    x = torch.randn(2, 16, 16, dtype=torch.float64)
    plain = create_mixer("attention", 16, positions="none", causal=False).double()
    for iterations, accuracy in ((6, 5e-2), (25, 1e-9)):
        mixer = Nystromformer(16, num_landmarks=16, conv_width=0, iterations=iterations).double()
        mixer.load_state_dict(plain.state_dict())
        close(f"{iterations} iterations", mixer(x), plain(x), accuracy)


@card.exact("the iteration converges to the pseudo-inverse: A A^+ A = A")
def inverse() -> None:
    a = torch.randn(4, 8, 8, dtype=torch.float64).softmax(-1)
    z = newton_inverse(a, 40)
    close("A A^+ A", a @ z @ a, a)
    close("pinv", z, torch.linalg.pinv(a), 1e-8)


@card.exact(
    "the error against softmax attention falls with the number of landmarks, on neighbours that are alike"
)
def landmarks() -> None:
    x = torch.randn(4, 64, 16, dtype=torch.float64).cumsum(1) / 8
    plain = create_mixer("attention", 16, positions="none", causal=False).double()
    errors = []
    for m in (2, 8, 32):
        mixer = Nystromformer(16, num_landmarks=m, conv_width=0, iterations=40).double()
        mixer.load_state_dict(plain.state_dict())
        errors.append(float((mixer(x) - plain(x)).detach().norm()))
    assert errors[0] > errors[1] > errors[2], errors


@card.exact("transformers' layer under the same weights")
def equals_transformers() -> None:
    module = peer("transformers.models.nystromformer.modeling_nystromformer")
    config = peer("transformers").NystromformerConfig(
        hidden_size=16, num_attention_heads=4, num_landmarks=6, segment_means_seq_len=48, conv_kernel_size=7
    )
    theirs = module.NystromformerSelfAttention(config).double().eval()
    theirs.init_option = "exact"  # the norm of each matrix
    ours = Nystromformer(16, num_landmarks=6, conv_width=7, bias=True).double()
    for name, other in (("q", "query"), ("k", "key"), ("v", "value"), ("conv", "conv")):
        getattr(ours, name).load_state_dict(getattr(theirs, other).state_dict())
    x = torch.randn(2, 48, 16, dtype=torch.float64)
    close("y", ours(x), ours.out(theirs(x)[0]), 1e-6)  # theirs makes its identity in float32
