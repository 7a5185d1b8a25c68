"""Identities of Nyströmformer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.low_rank.nystromformer import Nystromformer, newton_inverse
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="lookup",
    arms={
        "nystromformer": "[nystromformer(num_landmarks=8, conv_width=5)]*2 causal=false positions=sinusoidal",
        "attention": "[attention]*2 causal=false positions=sinusoidal",
    },
    smallest=0.05,
    expect="no worse",
    steps=400,
    parameters=30_000,
)


@identity("with every token its own landmark it is softmax attention, to the accuracy of the inverse")
def all_tokens() -> None:
    x = torch.randn(2, 16, 16, dtype=torch.float64)
    plain = create_mixer("attention", 16, positions="none", causal=False).double()
    for iterations, accuracy in ((6, 5e-2), (25, 1e-9)):
        mixer = Nystromformer(16, num_landmarks=16, conv_width=0, iterations=iterations).double()
        reduces_to(plain, mixer, x, what=f"{iterations} iterations", tolerance=accuracy)


@identity("the iteration converges to the pseudo-inverse: A A^+ A = A")
def inverse() -> None:
    a = torch.randn(4, 8, 8, dtype=torch.float64).softmax(-1)
    z = newton_inverse(a, 40)
    close("A A^+ A", a @ z @ a, a)
    close("pinv", z, torch.linalg.pinv(a), 1e-8)


@identity(
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


@identity("transformers' layer under the same weights")
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
