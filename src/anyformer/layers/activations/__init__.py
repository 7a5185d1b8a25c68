"""Activations by name: functions, and learned ones, each in a file of its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, silu

from anyformer.registry import Registry, modules_in

activations: Registry[Callable[..., Any]] = Registry("activation", modules_in(__name__, __path__))
register_activation, activation_info = activations.register, activations.get
list_activations = activations.ids


FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "identity": lambda x: x,
    "relu": relu,
    "relu2": lambda x: relu(x).square(),
    "sigmoid": torch.sigmoid,
    "silu": silu,
}
for _name, _function in FUNCTIONS.items():
    register_activation(_name)(_function)


class Activation(nn.Module):
    """An activation function as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = activations.get(self.name).target(x)
        return y

    def extra_repr(self) -> str:
        return self.name


def create_activation(activation: str | Mapping[str, Any], dim: int) -> nn.Module:
    """Build an activation over ``dim`` channels, by name or as ``{"name": ..., option: ...}``.

    Raises:
        ValueError: for an unknown name, with the closest ones, or an option that it does not have.
    """
    given: dict[str, Any] = {"name": activation} if isinstance(activation, str) else dict(activation)
    name = given.pop("name", None)
    options = {**given.pop("options", {}), **{k: v for k, v in given.items() if k not in ("tag", "inner")}}
    target = activations.get(name).target
    if isinstance(target, type):
        module: nn.Module = target(dim, **options)
        return module
    if options:
        raise ValueError(f"activation {name!r} has no option {next(iter(options))!r}")
    return Activation(name)
