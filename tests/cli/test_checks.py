"""``anyformer check`` and ``bench``."""

from __future__ import annotations

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
        (("bench", "attention", "--length", "0"), "--length must be at least 1"),
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
