"""A norm that changes from a layer norm to a batch norm during training, which can then be folded away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.norms import register_norm


@register_norm("prep_bn")
class PRepBN(Mixer):
    """Progressive re-parameterised batch norm (Guo 2024, arXiv 2405.11582, eq. 5-7).

    y = share * LN(x) + (1 - share) * (BN(x) + alpha x), share falling linearly from one to zero over the training
    steps. With share 0 it is affine in evaluation, and :func:`anyformer.convert.fold_norms` folds it into the maps that
    read it. Statistics are over the real tokens of a batch in training, and their running means in evaluation.

    Args:
        dim: width D.
        eps: added to variances.
        momentum: weight of a batch in the running means.
    """

    running_mean: Tensor
    running_var: Tensor
    share: Tensor

    class Options(Mixer.Options, without=("causal",)):
        eps: float = 1e-5
        momentum: float = 0.1

        def info(self) -> MixerInfo:
            reason = "training normalises by its batch, evaluation by running means"
            return MixerInfo(reach=(0, 0), exceptions={"modes": reason})

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.eps, self.momentum = self.options.eps, self.options.momentum
        self.layer_weight, self.layer_bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.batch_weight, self.batch_bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.alpha = nn.Parameter(torch.ones(()))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.register_buffer("share", torch.ones(()))

    def hints(self) -> dict[str, dict[str, Any]]:
        return {name: {"decay": False} for name, _ in self.named_parameters()}

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift (D,) of BN(x) + alpha x in evaluation."""
        scale = self.batch_weight * (self.running_var + self.eps).rsqrt()
        return scale + self.alpha, self.batch_bias - scale * self.running_mean

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        smooth = layer_norm(x, (self.dim,), self.layer_weight, self.layer_bias, self.eps)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.training and x.numel():
            mean, var = self._of_batch(wide, inputs)
            batch = (wide - mean) * (var + self.eps).rsqrt() * self.batch_weight + self.batch_bias
            batch = batch + self.alpha * wide
        else:
            scale, shift = self.affine()
            batch = wide * scale + shift
        return torch.lerp(batch, smooth.to(batch.dtype), self.share.to(batch.dtype)).to(x.dtype)

    def _of_batch(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return mean and variance (D,) over real tokens; note them as sums about the running mean."""
        count = inputs.lengths.sum().to(x.dtype)
        away = inputs.zero(x - self.running_mean)
        total, square = away.sum((0, 1)), away.square().sum((0, 1))
        for name, value in (("count", count), ("total", total), ("square", square)):
            inputs.call.note(self, name, value)
        mean = total / count.clamp_min(1)
        return mean + self.running_mean, square / count.clamp_min(1) - mean.square()

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        """Update the running means by the step's statistics, and the share to the remaining part of the training."""
        if notes and float(notes["count"]) > 1:
            count, mean = notes["count"], notes["total"] / notes["count"]
            var = (notes["square"] / count - mean.square()) * count / (count - 1)
            self.running_mean += self.momentum * mean
            self.running_var += self.momentum * (var - self.running_var)
        self.share.fill_(max(0.0, 1 - progress))
