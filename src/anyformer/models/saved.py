"""Models saved as folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from safetensors import safe_open
from torch import nn

from anyformer.models.spec import ModelSpec
from anyformer.user_code import save_code, trusted_config


class SavedModel(PyTorchModelHubMixin):
    """A model that is saved as a folder, with the Python files that its spec names.

    ``from_pretrained(folder, trust_code=True)`` runs those files; without it they are refused, as the folder may not
    be trusted.
    """

    spec: ModelSpec

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        assert isinstance(self._hub_mixin_config, dict)
        self._hub_mixin_config["spec"] = self.spec.model_dump()
        _readable_by_umask(save_directory / "model.safetensors")
        save_code(self.spec.model_dump(), save_directory)

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls, *, model_id: str, spec: Any, trust_code: bool = False, **others: Any
    ) -> SavedModel:
        trusted = trusted_config(spec, Path(model_id), trust_code=trust_code)
        weights = Path(model_id) / "model.safetensors"
        if weights.exists():
            weights.open("rb").close()  # safetensors reports an unreadable file as missing
        found: SavedModel = super()._from_pretrained(model_id=model_id, spec=trusted, **others)
        return found

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        _take_dtypes(model, Path(model_file))
        return super()._load_as_safetensor(model, model_file, map_location, strict)


def _take_dtypes(model: nn.Module, weights: Path) -> None:
    """Set the dtypes of the parameters to those that they were saved in."""
    with safe_open(weights, "pt") as stored:
        names = set(stored.keys())
        for name, tensor in model.state_dict(keep_vars=True).items():  # shared ones by each of their names
            if name in names and tensor.is_floating_point():
                tensor.data = tensor.data.to(stored.get_tensor(name).dtype)


def _readable_by_umask(path: Path) -> None:
    """Set the mode of a file to that of a new one, as safetensors makes files readable to the owner only."""
    new = path.with_name(f".{path.name}.{os.getpid()}.mode")
    new.touch()
    shutil.copymode(new, path)
    new.unlink()
