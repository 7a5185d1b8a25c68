"""Identities of Hyena N-D, and its study."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from anyformer.laws.measures import close
from anyformer.mixers.convolution.hyena import Hyena
from anyformer.mixers.convolution.hyena_nd import HyenaND
from anyformer.ops.long_conv import long_conv_nd, long_conv_nd_definition
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # small images, few of them
    task="digits",
    arms={
        "hyena": "[hyena_nd(grid=6, max_length=36)]*2 causal=false channel=mlp",
        "attention": "[attention]*2 causal=false channel=mlp",
    },
    options={"canvas": 12},
    smallest=0.01,
    steps=1000,
    parameters=40_000,
)


@identity("the FFT = the sum over all lags, for one, two and three axes")
def brute_force() -> None:
    for sizes in ((9,), (4, 5), (2, 3, 4)):
        x, kernel = torch.randn(2, 3, *sizes).double(), torch.randn(3, *sizes).double()
        close(f"{len(sizes)} axes", long_conv_nd(x, kernel), long_conv_nd_definition(x, kernel))


def one_axis(kernel: str) -> tuple[Hyena, HyenaND]:
    torch.manual_seed(2)
    one = Hyena(8, max_length=40, hidden_dim=8).double()
    many = HyenaND(8, max_length=40, hidden_dim=8, kernel=kernel).double()
    own = {k: v for k, v in one.state_dict().items() if k.startswith(("into", "out", "skip"))}
    assert one.conv.bias is not None
    own |= {"taps": one.conv.weight.detach().flip(1), "taps_bias": one.conv.bias.detach()}
    for name, value in one.filter.state_dict().items():
        inside = kernel == "separable" or name == "log_width"
        own["filter.axes.0." + name if inside else "filter." + name] = value
    many.load_state_dict(own)
    return one, many


@identity("one axis is Hyena under the same weights, whichever way kernels are made")
def reduces_to_hyena() -> None:
    x = torch.randn(2, 30, 8, dtype=torch.float64)
    for kernel in ("joint", "separable"):
        one, many = one_axis(kernel)
        close(kernel, many(x), one(x))


@identity("a separable kernel is of rank one over the axes, a joint one is not")
def ranks() -> None:
    found = {}
    for kernel in ("joint", "separable"):
        mixer = HyenaND(4, grid=6, max_length=36, kernel=kernel, hidden_dim=16).double()
        found[kernel] = int(torch.linalg.matrix_rank(mixer.kernels((6, 6)).detach(), rtol=1e-6).max())
    assert found["separable"] == 1 < found["joint"], found


@identity("looking to four corners = four causal convolutions of the image, turned and turned back")
def corners() -> None:
    mixer = HyenaND(3, grid=5, max_length=20, order=1, hidden_dim=8, causal=False).double()
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    found = mixer.filter([4, 5]).unflatten(0, (1, 4))[0]
    total: Tensor = torch.zeros_like(x)
    for kernel, signs in zip(found, product((1, -1), repeat=2), strict=True):
        turned = [axis for axis, sign in zip((2, 3), signs, strict=True) if sign < 0]
        total = total + long_conv_nd(x.flip(turned), kernel).flip(turned)
    close("corners", long_conv_nd(x, mixer.kernels((4, 5))[0], causal=False), total)
