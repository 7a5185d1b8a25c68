"""Named models: where each is registered, and their list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anyformer.registry import Registry, registered_in

NamedModel = Callable[..., dict[str, Any]]

models: Registry[NamedModel] = Registry(
    "model", registered_in(f"{__package__}.zoo", Path(__file__).with_name("zoo"), "register_model")
)
register_model = models.register


def list_models() -> list[str]:
    """Return the names of the named models."""
    return models.ids()
