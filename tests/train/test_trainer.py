"""The loop: learns, repeats, resumes bit for bit, and says when it diverged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.models import create_model
from anyformer.tasks import create_task
from anyformer.train import Diverged, TrainConfig, Trainer, model_for
from anyformer.train.trainer import cut

TASK = create_task("recall", length=16, num_pairs=3, vocab_size=16)


def trainer(spec: str = "transformer dim=32 depth=1 dropout=0.1", **config: object) -> Trainer:
    settings = TrainConfig(**({"steps": 12, "batch_size": 8} | config))  # type: ignore[arg-type]
    return Trainer(model_for(TASK, spec), TASK, settings)


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in run.model.state_dict().items()}


def test_the_loss_falls() -> None:
    run = trainer("transformer dim=32", steps=60, learning_rate=1e-2)
    run.run()
    assert run.step == 60 == len(run.losses)
    assert sum(run.losses[-5:]) < 0.8 * sum(run.losses[:5])


def test_resumed_is_the_same_as_never_stopped(tmp_path: Path) -> None:
    whole = trainer()
    whole.run()
    first = trainer()
    first.run(until=5)
    first.save(tmp_path / "checkpoint.pt")
    second = trainer()
    second.load(tmp_path / "checkpoint.pt")
    assert second.step == 5
    second.run()
    assert second.losses == whole.losses
    assert all(torch.equal(v, weights(second)[k]) for k, v in weights(whole).items())
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_training_draws_do_not_depend_on_or_change_the_global_stream() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = trainer()
    one.run()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two = trainer()
    two.run()
    assert one.losses == two.losses


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run = trainer()
    run.save(tmp_path / "c.pt")
    with pytest.raises(ValueError, match="was made under"):
        trainer(steps=13).load(tmp_path / "c.pt")
    with pytest.raises(ValueError, match="is of another model"):
        trainer("transformer dim=16").load(tmp_path / "c.pt")


def test_divergence_is_said_at_its_step() -> None:
    run = trainer("transformer dim=32")
    with torch.no_grad():
        run.model.head.weight.fill_(torch.nan)
    with pytest.raises(Diverged, match="the loss was nan at step 1"):
        run.run()


def test_a_callback_can_stop_the_run() -> None:
    run = trainer()
    run.run(on_step=lambda r: r.step < 4)
    assert run.step == 4


def test_evaluation_is_the_tasks_metric_and_repeats() -> None:
    run = trainer()
    whole = run.evaluate("valid", with_loss=True)
    again = run.evaluate("valid", batch_size=7, with_loss=True)
    assert 0 <= whole.value <= 1
    assert again.value == pytest.approx(whole.value) and again.loss == pytest.approx(whole.loss)
    assert run.task.metric.value(whole.items) == whole.value
    assert len(whole) == run.task.size("valid")
    part = run.evaluate("valid", items=9)
    assert part.items.tolist() == whole.items[run.task.subset("valid", 9)].tolist()
    assert run.model.training


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = TrainConfig(steps=100, learning_rate=1.0, warmup=0.1)
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] < 0.11


def test_auxiliary_losses_are_trained() -> None:
    run = trainer("[attention] dim=32 channel=moe(num_experts=2, top_k=1)")
    router = run.model.body.stack.sublayers[1].router.weight.clone()
    run.run(until=2)
    assert not torch.equal(router, run.model.body.stack.sublayers[1].router.weight)


def test_weight_decay_is_for_matrices_only() -> None:
    groups = trainer("mamba dim=16").optimizer.param_groups
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    model = trainer("mamba dim=16")
    named = dict(model.model.named_parameters())
    for group in model.optimizer.param_groups:
        for p in group["params"]:
            name = next(n for n, q in named.items() if q is p)
            assert (group["weight_decay"] > 0) == (p.dim() >= 2 and "A_log" not in name), name
    assert decayed


@pytest.mark.parametrize(
    "field",
    [
        {"steps": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("inf")},
        {"weight_decay": float("nan")},
        {"batchsize": 3},
    ],
)
def test_wrong_configurations(field: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        TrainConfig(**field)


def test_staged_lengths() -> None:
    """The first half of the steps runs on pieces, the rest on full windows, with as many tokens in each step."""
    task = create_task("bytes", length=16)
    lengths = []
    trained = Trainer(
        create_model("[attention] dim=16", vocab_size=256),
        task,
        TrainConfig(steps=4, batch_size=2, short_length=4, short_share=0.5),
    )
    trained.model.register_forward_pre_hook(lambda module, args: lengths.append(tuple(args[0].shape)))
    trained.run()
    assert lengths == [(8, 4), (8, 4), (2, 16), (2, 16)]
    with pytest.raises(ValueError, match="short_length must divide windows .* got 5 for windows of 16"):
        cut(task.train_batch(0, 2), 5)


class Counting(Mixer):
    """Notes how many tokens it saw, and adds them up behind each step."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.register_buffer("seen", torch.zeros(()))
        self.progress = 0.0

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if self.training:
            inputs.call.note(self, "tokens", inputs.lengths.sum())
        return x

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        self.seen += notes["tokens"]
        self.progress = progress


def test_mixers_write_their_buffers_behind_each_step() -> None:
    part = f"{__file__}:Counting@one"  # one module in two places: what it notes in a step adds up
    run = trainer(f"[attention, {part}, {part}] dim=32", steps=4)
    run.run(until=2)
    counting = next(m for m in run.model.modules() if type(m).__name__ == "Counting")
    assert counting.seen == 2 * 2 * 8 * 16 and counting.progress == 0.5
    run.evaluate()
    run.run()
    assert counting.seen == 4 * 2 * 8 * 16 and counting.progress == 1.0


def test_compiled_layers_train_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyformer.train.trainer.BACKEND", "aot_eager")  # no C++ compiler
    plain, compiled = (
        trainer("transformer dim=16 depth=1"),
        trainer("transformer dim=16 depth=1", compile=True),
    )
    calls = []
    compiled.model.body.register_forward_pre_hook(lambda *_: calls.append(torch.compiler.is_compiling()))
    for run in (plain, compiled):
        run.run(until=3)
    assert any(calls), "it is traced"
    assert compiled.losses == pytest.approx(plain.losses, abs=1e-5)
    assert weights(compiled).keys() == weights(plain).keys()
    calls.clear()
    compiled.evaluate("valid", items=8)
    assert not any(calls), "evaluation is as before"


def test_compiling_or_computing_again() -> None:
    with pytest.raises(ValueError, match="give it or checkpoint_activations"):
        TrainConfig(compile=True, checkpoint_activations=True)


def test_a_configuration_of_before_is_read() -> None:
    assert TrainConfig.model_validate({"dtype": "bfloat16"}) == TrainConfig(precision="bfloat16")
