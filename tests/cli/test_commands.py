"""The commands around the main job, and one clear message for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.cli.main import console
from anyformer.cli.parts import EXAMPLE_LENGTH
from anyformer.laws.ops.cases import Sizes, path_of
from anyformer.mixers import list_mixers
from anyformer.models import list_models
from anyformer.ops import load_all

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are not folded, whatever the terminal."""
    monkeypatch.setattr(console, "_width", 300)


def run(*args: object) -> tuple[int, str]:
    result = RUNNER.invoke(app, [str(a) for a in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_list_names_everything() -> None:
    code, text = run("list")
    assert code == 0
    for name in [*list_mixers(), *list_models(), "swiglu", "moe", "alibi", "recall", "bytes"]:
        assert name in text


def test_doctor_names_the_path_of_every_op_and_why() -> None:
    code, text = run("doctor")
    assert "Inside torch.func" in text
    assert code == 0
    for primitive in load_all().values():
        assert primitive.name in text
        choice = path_of(primitive.name, Sizes(T=EXAMPLE_LENGTH, K=64, V=64))
        assert choice.path.name in text
        assert choice.why in text


def test_check_shows_a_table_and_passes() -> None:
    code, text = run("check", "swiglu", "--law", "reach", "--law", "errors", "--workers", 1)
    assert code == 0
    assert "swiglu" in text
    assert "1 cases, 0 broken" in text


def test_check_of_an_op_and_of_one_that_hides_what_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_devices(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for device, words in (
        ("tpu", "--device must be cpu or cuda, got tpu"),
        ("cuda", "finds no such device here"),
    ):
        result = RUNNER.invoke(app, [command, "pooling", "--device", device])
        assert result.exit_code == 2 and words in " ".join(result.output.split())


def test_check_of_a_broken_mixer_names_the_law_and_fails(tmp_path: Path) -> None:
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


BROKEN_YAML = "layers: [attention\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("compare", "no/such/file.csv"), "there is no file or folder 'no/such/file.csv'"),
        (("compare", "empty.csv", "--target", "x"), "empty.csv is empty"),
        (("compare", "short.csv", "--target", "x"), "too few"),
        (("compare", "words.csv", "--target", "x"), "give --option kind=classify"),
        (("compare", "words.csv", "--target", "z"), "has no column 'z'"),
        (("compare", "bytes.txt"), "byte 6000 (0xff) is not UTF-8 text"),
        (("compare", "giant.txt"), "give --option raw=true"),
        (("compare", "recall", "--models", "transfomer"), "did you mean 'transformer'"),
        (("compare", "recall", "--models", "[attention("), "expected the name of a part, got 'the end'"),
        (("compare", "recall", "--models", "broken.yaml"), "is not YAML"),
        (("compare", "recall", "--budget", "-5s"), "budget must be positive"),
        (("compare", "recall", "--budget", "soon"), "budget: expected a time"),
        (("compare", "recall", "--seeds", "1"), "seeds must be at least 3"),
        (("compare", "recall", "--workers", "0"), "workers must be at least 1"),
        (("compare", "recall", "--hold", "speed"), "hold must be 'parameters' or 'flops'"),
        (("compare", "recall", "--option", "foo=3"), "has no option 'foo'"),
        (("compare", "recall", "--option", "foo"), "--option must be written name=value"),
        (("compare", "--resume", "nowhere"), "holds no comparison to resume"),
        (
            ("compare", "recall", "--resume", "nowhere"),
            "--resume goes on with the plan in its folder: it takes no data",
        ),
        (
            ("compare", "--resume", "nowhere", "--budget", "9m", "--seeds", "5"),
            "it takes no --budget and no --seeds",
        ),
        (("compare", "--more", "9m", "nowhere", "--workers", "3"), "it takes no --workers"),
        (("compare", "--join", "nowhere", "--out", "x"), "it takes no --out"),
        (("check",), "name what to check, or say --all"),
        (("check", "attenton"), "unknown mixer 'attenton'; did you mean 'attention'"),
        (("check", "attention", "--law", "reech"), "unknown law 'reech'; did you mean 'reach'"),
        (("list", "mixer"), "unknown kind 'mixer'; did you mean 'mixers'"),
        (("bench", "attention", "--length", "0"), "--length must be at least 1"),
    ],
)
def test_a_mistake_gets_one_message(
    args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "short.csv").write_text("date,x\n2024-01-01,1\n2024-01-02,2\n")
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 8) for day in range(1, 29)]
    (tmp_path / "words.csv").write_text("date,x\n" + "".join(f"{day},word\n" for day in days))
    (tmp_path / "bytes.txt").write_bytes(b"hello " * 1000 + b"\xff\xfe" + b"x" * 1000)
    (tmp_path / "giant.txt").write_text("a" * 3_000_000)
    (tmp_path / "broken.yaml").write_text(BROKEN_YAML)
    before = sorted(tmp_path.iterdir())
    code, text = run(*args)
    assert code == 2
    assert "error: " in text
    assert message in text
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
