"""Reading checkpoints from disk, and what is said of those that cannot be read. No peer is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from anyformer.convert import from_hf, key_map
from anyformer.models import SequenceModel

CONFIG = {
    "model_type": "gpt2",
    "vocab_size": 11,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 16,
}


def weights(**extra: Tensor) -> dict[str, Tensor]:
    """A GPT-2 checkpoint of ``CONFIG``, by hand."""
    D = 8
    shapes = {"wte.weight": (11, D), "wpe.weight": (16, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    for i in range(2):
        for name, shape in {
            "ln_1": (D,),
            "ln_2": (D,),
            "attn.c_attn": (D, 3 * D),
            "attn.c_proj": (D, D),
            "mlp.c_fc": (D, 4 * D),
            "mlp.c_proj": (4 * D, D),
        }.items():
            shapes[f"h.{i}.{name}.weight"] = shape
            shapes[f"h.{i}.{name}.bias"] = shape[-1:]
    generator = torch.Generator().manual_seed(0)
    made = {f"transformer.{k}": torch.randn(shape, generator=generator) for k, shape in shapes.items()}
    return {**made, **extra}


def write(folder: Path, tensors: dict[str, Tensor] | None, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    if tensors is not None:
        save_file(tensors, folder / "model.safetensors")
    return folder


def outputs(model: SequenceModel) -> Tensor:
    with torch.no_grad():
        y: Tensor = model(torch.arange(10)[None])
    return y


def test_reads_a_folder(tmp_path: Path) -> None:
    tensors = weights()
    model = from_hf(write(tmp_path, tensors))
    assert not model.training
    assert model.head.weight is model.embed.weight
    attention = model.body.stack.sublayers[2]
    fused = tensors["transformer.h.1.attn.c_attn.weight"]
    assert attention.k.weight.equal(fused[:, 8:16].T)
    assert attention.v.bias.equal(tensors["transformer.h.1.attn.c_attn.bias"][16:])
    assert outputs(model).std() > 0.1


def test_ties_survive_saving(tmp_path: Path) -> None:
    model = from_hf(write(tmp_path / "theirs", weights()))
    model.save_pretrained(tmp_path / "ours")
    again = SequenceModel.from_pretrained(tmp_path / "ours")
    assert again.head.weight is again.embed.weight
    assert outputs(again).equal(outputs(model))


def test_a_stored_output_matrix_is_taken_although_the_config_ties_it(tmp_path: Path) -> None:
    tensors = weights()
    tied = outputs(from_hf(write(tmp_path / "tied", tensors)))
    same = {**tensors, "lm_head.weight": tensors["transformer.wte.weight"].clone()}
    assert outputs(from_hf(write(tmp_path / "same", same))).equal(tied)
    own = {**tensors, "lm_head.weight": 2 * tensors["transformer.wte.weight"]}
    model = from_hf(write(tmp_path / "own", own))
    torch.testing.assert_close(outputs(model), 2 * tied)
    assert model.head.weight is not model.embed.weight


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = weights()
    tensors["transformer.h.1.mlp.c_fc.weight"] = tensors["transformer.h.1.mlp.c_fc.weight"].to(dtype)
    with pytest.raises(ValueError, match=r"h\.1\.mlp\.c_fc\.weight'.* quantised checkpoints are not read"):
        from_hf(write(tmp_path, tensors))


def test_shards_and_pickles(tmp_path: Path) -> None:
    tensors = weights()
    expected = outputs(from_hf(write(tmp_path / "one", tensors)))
    names = sorted(tensors)
    halves = {"a": names[:9], "b": names[9:]}

    sharded = write(tmp_path / "sharded", None)
    for shard, held in halves.items():
        save_file({k: tensors[k] for k in held}, sharded / f"{shard}.safetensors")
    where = {k: f"{shard}.safetensors" for shard, held in halves.items() for k in held}
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert outputs(from_hf(sharded)).equal(expected)
    (sharded / "b.safetensors").unlink()
    with pytest.raises(ValueError, match=r"checkpoint file '.*b\.safetensors' cannot be read"):
        from_hf(sharded)

    pickled = write(tmp_path / "pickled", None)
    torch.save(tensors, pickled / "pytorch_model.bin")
    assert outputs(from_hf(str(pickled))).equal(expected)


def test_dtype_is_the_checkpoints(tmp_path: Path) -> None:
    half = {k: v.bfloat16() for k, v in weights().items()}
    half["transformer.ln_f.weight"] = half["transformer.ln_f.weight"].float()
    model = from_hf(write(tmp_path, half))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert outputs(model).dtype == torch.bfloat16


def test_masks_of_old_versions_are_left(tmp_path: Path) -> None:
    old = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 16, 16) for i in range(2)}
    from_hf(write(tmp_path, weights(**old, **{"transformer.h.0.attn.masked_bias": torch.tensor(-1e4)})))


def test_loaded_weights_are_copied() -> None:
    class Config:
        def to_dict(self) -> dict[str, Any]:
            return CONFIG

    class Loaded(torch.nn.Module):
        config = Config()

        def __init__(self) -> None:
            super().__init__()
            self.transformer = torch.nn.Module()
            self.tensors = weights()

        def state_dict(self, *_: Any, **__: Any) -> dict[str, Tensor]:  # type: ignore[override]
            return self.tensors

    loaded = Loaded()
    model = from_hf(loaded)
    before = outputs(model)
    for tensor in loaded.tensors.values():
        tensor.zero_()
    assert outputs(model).equal(before)


def test_key_map() -> None:
    source = key_map(CONFIG)["body.stack.sublayers.3.down.weight"]
    assert source.key == "h.1.mlp.c_proj.weight"
    assert source.change(torch.zeros(3, 5)).shape == (5, 3)


def test_missing_things(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="there is no checkpoint folder 'gpt2'; checkpoints are read from disk only"
    ):
        from_hf("gpt2")
    with pytest.raises(ValueError, match=r"config\.json' cannot be read: No such file"):
        from_hf(tmp_path)
    write(tmp_path, None)
    with pytest.raises(
        ValueError, match=r"has no weights; expected model\.safetensors or pytorch_model\.bin"
    ):
        from_hf(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"model\.safetensors' cannot be read"):
        from_hf(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json' is not JSON"):
        from_hf(tmp_path)
    with pytest.raises(ValueError, match="source must be a folder or a model of transformers, got int"):
        from_hf(3)  # type: ignore[arg-type]


def test_unknown_architecture(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"has the model_type 'bert'; supported are gpt2, led, llama, longt5, mamba, mamba2, mistral, pegasus_x",
    ):
        from_hf(write(tmp_path, weights(), model_type="bert"))


def test_unsupported_options(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="activation_function of a 'gpt2' checkpoint must be .*, got 'tanh'"):
        from_hf(write(tmp_path, weights(), activation_function="tanh"))


def test_wrong_tensors(tmp_path: Path) -> None:
    tensors = weights()
    less = {k: v for k, v in tensors.items() if ".h.1.ln" not in k}
    with pytest.raises(ValueError, match=r"lacks 'h.1.ln_1.bias', .* and 1 more; it has 24 tensors"):
        from_hf(write(tmp_path, less))
    with pytest.raises(
        ValueError, match="has 'score.weight', which a 'gpt2' language model has no place for"
    ):
        from_hf(write(tmp_path, weights(**{"score.weight": torch.zeros(2, 8)})))
    key = "transformer.h.0.mlp.c_fc.weight"
    with pytest.raises(
        ValueError, match=r"c_fc.weight' .* has the shape \(8, 32\), which does not fit its config"
    ):
        from_hf(write(tmp_path, tensors, n_inner=16))
    assert tensors[key].shape == (8, 32)
