"""Reading a checkpoint's files, whatever model they are of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anyformer.convert.checkpoint import checked, read_checkpoint, same

TENSORS = {name: torch.full((2, 3), float(i)) for i, name in enumerate("abcd")}


def folder(path: Path, config: object) -> Path:
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
def test_tensors_are_those_of_all_files(tmp_path: Path, sharded: bool, pickled: bool) -> None:
    name, save = ("pytorch_model.bin", torch.save) if pickled else ("model.safetensors", save_file)
    folder(tmp_path, {"model_type": "x"})
    parts = (
        {f"{i}-{name}": dict(list(TENSORS.items())[2 * i : 2 * i + 2]) for i in range(2)}
        if sharded
        else {name: TENSORS}
    )
    for file, held in parts.items():
        save(held, tmp_path / file)
    if sharded:
        index = {"weight_map": {key: file for file, held in parts.items() for key in held}}
        (tmp_path / f"{name}.index.json").write_text(json.dumps(index))
    config, tensors = read_checkpoint(tmp_path)
    assert config == {"model_type": "x"}
    assert {key: t.tolist() for key, t in tensors.items()} == {key: t.tolist() for key, t in TENSORS.items()}


def test_a_tensor_is_read_only_when_it_is_accessed(tmp_path: Path) -> None:
    save_file(TENSORS, folder(tmp_path, {}) / "model.safetensors")
    _, tensors = read_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert set(tensors) == set(TENSORS) and len(tensors) == 4
    with pytest.raises(OSError, match="No such file"):
        tensors["a"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="config.json' must hold an object, got list"):
        read_checkpoint(folder(tmp_path, [1]))
    (folder(tmp_path, {}) / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="index.json' must hold a 'weight_map'"):
        read_checkpoint(tmp_path)


def test_stored_twice_is_the_same_and_quantised_is_refused() -> None:
    a = TENSORS["a"]
    assert same(a, a) and same(a, a.clone()) and same(a, a.bfloat16())
    assert not same(a, TENSORS["b"]) and not same(a, a[:1])
    assert checked(a, "a", "here") is a
    with pytest.raises(ValueError, match="tensor 'a' of here holds int8: quantised checkpoints are not read"):
        checked(a.char(), "a", "here")
