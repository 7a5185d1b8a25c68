"""Reading checkpoint folders as transformers writes them: a config, and tensors by name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anyformer.user_code import refuse_code

_FILES = ("model.safetensors", "pytorch_model.bin")


class Tensors(Mapping[str, Tensor]):
    """Tensors by name, each read from its file when it is accessed."""

    def __init__(self, readers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Tensor:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], Tensors]:
    """Read the config and the tensors of a checkpoint folder.

    Raises:
        ValueError: if the folder, the config or a file with weights is missing or cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(
            f"there is no checkpoint folder {str(folder)!r}; checkpoints are read from disk only"
        )
    config = _read_json(folder / "config.json")
    refuse_code(config, folder / "config.json", trust_code=None)
    for name in _FILES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = _read_json(index).get("weight_map")
            if not isinstance(shards, dict):
                raise ValueError(f"{str(index)!r} must hold a 'weight_map'")
            return config, _merge(folder / shard for shard in sorted(set(shards.values())))
        if (folder / name).is_file():
            return config, _merge([folder / name])
    raise ValueError(
        f"checkpoint folder {str(folder)!r} has no weights; expected {' or '.join(_FILES)}, or shards"
    )


def checked(tensor: Tensor, name: str, where: str) -> Tensor:
    """Return a tensor of a checkpoint, of 16-, 32- or 64-bit floats.

    Raises:
        ValueError: for integers and 8-bit floats, which are quantised weights: their scales are stored elsewhere.
    """
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise ValueError(
            f"tensor {name!r} of {where} holds {str(tensor.dtype).removeprefix('torch.')}: quantised checkpoints "
            "are not read; save one of float16, bfloat16 or float32"
        )
    return tensor


def same(one: Tensor, other: Tensor) -> bool:
    """Return True if two stored tensors are the same matrix, shared or stored twice."""
    return one is other or (one.shape == other.shape and bool(torch.equal(one, other.to(one.dtype))))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"checkpoint file {str(file)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"checkpoint file {str(file)!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"checkpoint file {str(file)!r} must hold an object, got {type(value).__name__}")
    return value


def _merge(files: Iterator[Path] | list[Path]) -> Tensors:
    readers: dict[str, Callable[[], Tensor]] = {}
    for file in files:
        try:
            readers |= _safetensors(file) if file.suffix == ".safetensors" else _pickled(file)
        except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise ValueError(f"checkpoint file {str(file)!r} cannot be read: {reason}") from None
    return Tensors(readers)


def _safetensors(file: Path) -> dict[str, Callable[[], Tensor]]:
    file.open("rb").close()  # safetensors reports a file without read permission as missing
    with safe_open(file, "pt") as opened:
        names = opened.keys()
    return {name: partial(_read_safetensor, file, name) for name in names}


def _read_safetensor(file: Path, name: str) -> Tensor:
    with safe_open(file, "pt") as opened:
        tensor: Tensor = opened.get_tensor(name)
        return tensor


def _pickled(file: Path) -> dict[str, Callable[[], Tensor]]:
    held = torch.load(file, map_location="cpu", weights_only=True)
    return {name: partial(held.__getitem__, name) for name in held}
