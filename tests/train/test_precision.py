"""The precision that is chosen, with its reason; the cheaper one learns as well."""

from __future__ import annotations

import pytest
import torch

from anyformer import machine
from anyformer.tasks import create_task
from anyformer.train import TrainConfig, Trainer, model_for, precision
from anyformer.train.precision import choose_precision

TASK = create_task("recall", length=16, num_pairs=3, vocab_size=16)
CPU = torch.device("cpu")


@pytest.mark.parametrize(("tiles", "name"), [(True, "bfloat16"), (False, "float32")])
def test_auto_says_why(monkeypatch: pytest.MonkeyPatch, tiles: bool, name: str) -> None:
    monkeypatch.setattr(precision, "has_bfloat16_tiles", lambda: tiles)
    found = choose_precision("auto", CPU)
    assert found.name == name and "AMX" in found.reason and found.autocast == tiles
    assert choose_precision("float32", CPU).name == "float32", "what is asked counts"
    assert choose_precision("auto", torch.device("meta")).name == "float32"


@pytest.mark.parametrize(("supported", "name"), [(True, "bfloat16"), (False, "float32")])
def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch, supported: bool, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert choose_precision("auto", torch.device("cuda")).name == name


def test_the_flags_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, there in (("flags\t\t: fpu amx_bf16 amx_tile\n", True), ("flags : fpu avx512_bf16\n", False)):
        monkeypatch.setattr(machine.Path, "read_text", lambda self, text=text, **more: text)
        assert machine.has_bfloat16_tiles() is there


@pytest.mark.parametrize(
    "spec", ["transformer dim=32 depth=1", "mamba dim=16 depth=1", "retnet dim=16 depth=1"]
)
def test_bfloat16_learns_as_float32_does(spec: str) -> None:
    runs = {}
    for name in ("float32", "bfloat16"):
        config = TrainConfig(steps=30, batch_size=8, learning_rate=1e-2, precision=name)
        run = runs[name] = Trainer(model_for(TASK, spec), TASK, config)
        run.run()
        assert all(p.dtype == torch.float32 for p in run.model.parameters())
    plain, cheap = (torch.tensor(runs[name].losses) for name in ("float32", "bfloat16"))
    assert not torch.equal(plain, cheap)
    torch.testing.assert_close(cheap[:10], plain[:10], atol=0.05, rtol=0.02)  # 8 bits: 0.4 % a product
    torch.testing.assert_close(cheap[-10:].mean(), plain[-10:].mean(), atol=0.1, rtol=0.05)


def test_evaluation_is_in_float32() -> None:
    runs = [
        Trainer(model_for(TASK, "transformer dim=16 depth=1"), TASK, TrainConfig(precision=name))
        for name in ("float32", "bfloat16")
    ]
    first, second = (run.evaluate("valid", items=64, with_loss=True).loss for run in runs)
    assert first == second
