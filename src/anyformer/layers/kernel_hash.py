"""Kernel-based supervised hashing: binary codes learned from pairs that should agree or differ."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class KernelHash(nn.Module):
    """Codes h(x) in {-1, 1}^bits of unit vectors, per head: h_r = sign(sum_j A_rj (kappa(x, anchor_j) - mean_j)).

    kappa is Gaussian (kernel-based supervised hashing, Liu 2012; in attention, EcoFormer, arXiv 2209.09004, section
    3.2). A is not trained by gradients: :meth:`fit` finds it greedily, bit by bit. x gets the gradient of the clipped
    sum (straight-through).

    Args:
        num_heads: heads H, each with its own anchors and A.
        head_dim: width K of the vectors.
        num_bits: bits of a code. num_anchors: vectors that a vector is compared with.
    """

    anchors: Tensor
    weight: Tensor
    mean: Tensor
    width: Tensor

    def __init__(self, num_heads: int, head_dim: int, num_bits: int, num_anchors: int) -> None:
        super().__init__()
        if num_bits < 1 or num_anchors < 1:
            raise ValueError(f"num_bits and num_anchors must be at least 1, got {num_bits} and {num_anchors}")
        generator = torch.Generator().manual_seed(0)
        anchors = torch.randn(num_heads, num_anchors, head_dim, generator=generator)
        weight = torch.randn(num_heads, num_bits, num_anchors, generator=generator)
        self.register_buffer("anchors", normalize(anchors, dim=-1))
        self.register_buffer("weight", weight)
        self.register_buffer("mean", torch.full((num_heads, num_anchors), -0.5).exp())
        self.register_buffer(
            "width", torch.full((num_heads,), 2.0)
        )  # squared distance of orthogonal unit vectors

    def kernel(self, x: Tensor) -> Tensor:
        """Return kappa(x, anchor_j) - mean_j of unit vectors x (B, H, T, K): (B, H, T, anchors)."""
        distance = 2 - 2 * x @ self.anchors.to(x.dtype).mT
        width = self.width.to(x.dtype)[:, None, None]
        return (-distance / (2 * width)).exp() - self.mean.to(x.dtype)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """Return the codes (B, H, T, bits) of unit vectors x (B, H, T, K)."""
        soft = (self.kernel(x) @ self.weight.to(x.dtype).mT).clamp(-1, 1)
        return (_sign(soft) - soft).detach() + soft

    @torch.no_grad()
    def fit(self, x: Tensor, *, num_pairs: int, steps: int = 30, rate: float = 0.1) -> None:
        """Fit A to unit vectors x (H, N, K), so that codes agree with the nearest vectors and differ from the farthest.

        Labels L (N, N) are 1 for the ``num_pairs`` vectors of largest product with each, -1 for those of the smallest,
        0 otherwise. Bit r maximises y^T R y over y = sign(A_r kappa): initialised by an eigenvector, refined by
        gradient steps with a sigmoid for the sign, kept if they help. R is bits * L at first, minus y y^T after each
        bit.
        """
        H, N, _ = x.shape
        num_pairs = min(num_pairs, N // 2)
        if num_pairs < 1:
            return
        m = min(self.anchors.shape[1], N)
        every = torch.linspace(0, N - 1, m, device=x.device).round().long()
        self.anchors[:, :m] = x[:, every].to(self.anchors)
        x = x.to(torch.promote_types(self.anchors.dtype, torch.float32))
        distance = 2 - 2 * x @ self.anchors.to(x.dtype).mT
        self.width.copy_(distance.mean((1, 2)))
        kernel = (-distance / (2 * self.width.to(x.dtype)[:, None, None])).exp()
        self.mean.copy_(kernel.mean(1))
        kernel = kernel - self.mean.to(x.dtype)[:, None]
        residual = self._labels(x, num_pairs) * self.weight.shape[1]
        for bit in range(self.weight.shape[1]):
            start = _leading(kernel, residual)
            refined = _refined(kernel, residual, start, steps, rate)
            both = torch.stack((start, refined))
            y = _sign(torch.einsum("hnm,shm->shn", kernel, both))
            score = torch.einsum("shn,hnl,shl->sh", y, residual, y)
            best = score.argmax(0)
            pick = torch.arange(H, device=x.device)
            self.weight[:, bit] = both[best, pick].to(self.weight)
            residual = residual - y[best, pick][:, :, None] * y[best, pick][:, None]

    def _labels(self, x: Tensor, num_pairs: int) -> Tensor:
        similar = x @ x.mT
        labels = torch.zeros_like(similar)
        labels.scatter_(-1, similar.topk(num_pairs, -1).indices, 1.0)
        return labels.scatter_(-1, similar.topk(num_pairs, -1, largest=False).indices, -1.0)


def _sign(x: Tensor) -> Tensor:
    return torch.where(x > 0, 1.0, -1.0).to(x.dtype)


def _leading(kernel: Tensor, residual: Tensor) -> Tensor:
    """Return the a (H, m) that maximises (K a)^T R (K a) subject to |K a|^2 = N, without the sign."""
    N, m = kernel.shape[1:]
    gram = kernel.mT @ kernel
    gram = gram + 1e-4 * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(m).to(gram)
    whiten = torch.linalg.inv(torch.linalg.cholesky(gram))
    target = kernel.mT @ (residual + residual.mT) @ kernel / 2
    _, vectors = torch.linalg.eigh(whiten @ target @ whiten.mT)
    return (whiten.mT @ vectors[..., -1:])[..., 0] * N**0.5


def _refined(kernel: Tensor, residual: Tensor, start: Tensor, steps: int, rate: float) -> Tensor:
    """Return a after gradient steps on the objective with 2 sigmoid(.) - 1 for the sign."""
    N, a = kernel.shape[1], start.clone()
    for _ in range(steps):
        y = (torch.einsum("hnm,hm->hn", kernel, a) / 2).tanh()
        slope = torch.einsum("hnl,hl->hn", residual + residual.mT, y) * (1 - y.square()) / 2
        a = a + rate * torch.einsum("hnm,hn->hm", kernel, slope) / N
    return a
