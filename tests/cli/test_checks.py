"""``anyformer check``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from anyformer import Context


def test_check_shows_a_table_and_passes(run: Run) -> None:
    code, text = run("check", "swiglu", "--law", "reach", "--law", "errors", "--workers", 1)
    assert code == 0
    assert "swiglu" in text
    assert "1 cases, 0 broken" in text


def test_check_of_an_op_and_of_one_that_hides_what_is_not_finite(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = run("check", "op:swiglu", "--law", "not finite", "--law", "layouts", "--workers", 1)
    assert code == 0 and "laws over ops" in text and "1 cases, 0 broken" in text
    monkeypatch.setattr("anyformer.ops.swiglu._forward", lambda gate, up: gate.nan_to_num() * up)
    code, text = run("check", "op:swiglu", "--law", "not finite", "--workers", 1)
    assert code == 1 and "BROKEN" in text and "nan in gate, in output 0, is hidden" in text
    for arguments, words in (
        (("op:swigly",), "did you mean 'op:swiglu'"),
        (("swiglu", "--law", "layouts"), "--law layouts is for none of swiglu"),
    ):
        code, text = run("check", *arguments)
        assert code != 0 and words in text


@pytest.mark.parametrize("command", ["check", "bench"])
def test_devices(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for device, words in (
        ("tpu", "--device must be cpu or cuda, got tpu"),
        ("cuda", "finds no such device here"),
    ):
        code, text = run(command, "pooling", "--device", device)
        assert code == 2 and words in text


def test_check_of_a_broken_mixer_names_the_law_and_fails(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from anyformer import Mixer, MixerInfo\n"
        "class Peeks(Mixer):\n"
        "    '''Sees the next token and says that it does not.'''\n"
        "    class Options(Mixer.Options):\n"
        "        def info(self): return MixerInfo(reach=(0, 0))\n"
        "    def _forward(self, x, inputs): return x + x.roll(-1, 1)\n",
        encoding="utf-8",
    )
    code, text = run("check", f"{file}:Peeks", "--law", "reach", "--law", "purity", "--workers", 1)
    assert code == 1
    assert "Peeks: reach (broken): output 0 after a change of later tokens" in text
    assert "1 broken" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("check",), "name what to check, or say --all"),
        (("check", "mamba", "--all"), "--all checks every part and op: it takes no mamba"),
        (("check", "mamba", "--workers", "0"), "--workers must be at least 1, got 0"),
        (("check", "attenton"), "unknown mixer 'attenton'; did you mean 'attention'"),
        (("check", "attention", "--law", "reech"), "unknown law 'reech'; did you mean 'reach'"),
        (("check", "embed:patchs"), "unknown embedder 'patchs'; did you mean 'patches'"),
        (("check", "head:crff"), "unknown head 'crff'; did you mean 'crf'"),
        (("check", "head:crf", "--device", "cuda"), "--device"),
        (("check", "mamba", "--target", "y"), "--target and options of data are for data:PATH"),
        (("check", "data:a.csv", "data:b.csv"), "one data:PATH at a time can be checked, got a.csv, b.csv"),
        (("check", "data:no.csv"), "no file or folder 'no.csv'"),
        (("check", "data:recall", "--option", "vocab=3", "--option", "vocab=4"), "is given twice"),
    ],
)
def test_mistakes(args: tuple[str, ...], message: str, mistake: Callable[..., None]) -> None:
    mistake(args, message)


def test_check_of_a_model_holds_it_whole_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run("check", "encoder_decoder", "--law", "independence", "--law", "pooling", "--workers", 1)
    assert code == 0 and "laws over whole models" in text and "3 cases, 0 broken" in text
    monkeypatch.setattr(
        "anyformer.models.SequenceModel.encode",
        lambda model, source, call=None: Context(model.source_embed(source.inputs).flip(0)),
    )
    code, text = run("check", "model:encoder_decoder", "--law", "independence", "--workers", 1)
    assert code == 1 and "BROKEN   model:encoder_decoder: independence" in text


OWN = """
import torch
from anyformer.embed.field_sum import FieldSum
from anyformer.heads.linear import LinearHead
from anyformer.tasks.generated.recall import Recall

class Noisy(FieldSum):
    def forward(self, values):
        return super().forward(values) + torch.rand(())

class Doubled(LinearHead):
    def loss(self, outputs, targets, objective):
        return 2 * objective.loss(outputs, targets)

class Mine(Recall):
    pass
"""


@pytest.mark.parametrize(
    ("name", "law", "words"),
    [
        ("Noisy", "independence", "2 fields|a second call: off by"),
        ("Doubled", "mean", "Doubled, numbers: mean .broken.: the loss against the sums over their numbers"),
        ("Mine", "splits", "1 cases, 0 broken"),
    ],
)
def test_check_of_embedders_heads_and_tasks_of_ones_own(
    run: Run, tmp_path: Path, name: str, law: str, words: str
) -> None:
    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    code, text = run("check", f"{tmp_path / 'mine.py'}:{name}", "--law", law, "--workers", 1)
    assert code == (name != "Mine") and re.search(words, text)


def test_check_of_data(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b,y\n" + "".join(f"{i % 7},{i % 3},{'xy'[i % 2]}\n" for i in range(90)))
    code, text = run("check", f"data:{path}", "--target", "y", "--length", 3, "--workers", 1)
    assert code == 2 and "--length does not apply" in text
    code, text = run("check", f"data:{path}", "--target", "y", "--workers", 1)
    assert code == 0 and "laws over data" in text and "1 cases, 0 broken" in text
