"""Python files that are named by configurations: refused unless trusted, and saved with the model."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from anyformer.compare import compare, resume
from anyformer.convert import from_hf
from anyformer.models import EncoderDecoder, SequenceModel, create_model, load_spec
from anyformer.train import Fit, load_bundle
from anyformer.user_code import named_files, refuse_code

MIXER = """
import pathlib
import torch
from anyformer import Mixer, MixerInfo
from near.scaling import FACTOR

pathlib.Path({trace!r}).touch()

class Scale(Mixer):
    class Options(Mixer.Options):
        def info(self):
            return MixerInfo(reach=(0, 0), memory="n", state="none")

    def __init__(self, dim, **options):
        super().__init__(dim, **options)
        self.scale = torch.nn.Parameter(torch.full((dim,), FACTOR))

    def _forward(self, x, inputs):
        return x * self.scale

    def _init_state(self, batch_size, device, dtype):
        return {{}}

    def _stream(self, x, state, inputs):
        return x * self.scale, state
"""


@pytest.fixture
def mixer(tmp_path: Path) -> str:
    """``file.py:Scale``, whose file leaves a trace when it runs and imports a package that lies beside it."""
    folder = tmp_path / "mine"
    (folder / "near").mkdir(parents=True)
    (folder / "near" / "__init__.py").write_text("")
    (folder / "near" / "scaling.py").write_text("FACTOR = 3.0\n")
    file = folder / "scale.py"
    file.write_text(MIXER.format(trace=str(tmp_path / "ran")))
    return f"{file}:Scale"


@pytest.fixture(autouse=True)
def _forget_neighbours() -> None:
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name == "near" or name.startswith("near.")]:
        del sys.modules[name]


def saved(mixer: str, tmp_path: Path) -> tuple[Path, torch.Tensor]:
    model = create_model(f"[{mixer}]*2 dim=8", vocab_size=5).eval()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "ran").unlink()
    return tmp_path / "model", model(torch.arange(5)[None])


def test_a_saved_folder_runs_no_code_unless_trusted(mixer: str, tmp_path: Path) -> None:
    folder, _ = saved(mixer, tmp_path)
    for load in (SequenceModel.from_pretrained, load_bundle):
        with pytest.raises(ValueError, match=r"names Python code to run.*scale\.py:Scale.*trust_code=True"):
            load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_trusted_folder_loads_where_the_file_is_gone(mixer: str, tmp_path: Path) -> None:
    folder, y = saved(mixer, tmp_path)
    shutil.rmtree(tmp_path / "mine")
    moved = folder.rename(tmp_path / "elsewhere")
    for name in [name for name in sys.modules if name.startswith("near")]:
        del sys.modules[name]
    model = SequenceModel.from_pretrained(moved, trust_code=True).eval()
    assert (tmp_path / "ran").exists()
    torch.testing.assert_close(model(torch.arange(5)[None]), y, rtol=0, atol=0)
    model.save_pretrained(tmp_path / "again")  # what was loaded can be saved and loaded again
    shutil.rmtree(moved)
    again = SequenceModel.from_pretrained(tmp_path / "again", trust_code=True).eval()
    torch.testing.assert_close(again(torch.arange(5)[None]), y, rtol=0, atol=0)


def test_what_is_saved_is_what_ran(mixer: str, tmp_path: Path) -> None:
    model = create_model(f"[{mixer}] dim=8", vocab_size=5)
    Path(mixer.rpartition(":")[0]).write_text("raise SystemExit")
    model.save_pretrained(tmp_path / "model")
    SequenceModel.from_pretrained(tmp_path / "model", trust_code=True)


@pytest.mark.parametrize("file", ["scale.py", "near/scaling.py"])
def test_a_changed_copy_is_refused(mixer: str, tmp_path: Path, file: str) -> None:
    folder, _ = saved(mixer, tmp_path)
    (copy,) = folder.glob(f"code/*/{file}")
    copy.write_text(copy.read_text() + "\nprint('changed')\n")
    with pytest.raises(ValueError, match="not the file that was saved"):
        SequenceModel.from_pretrained(folder, trust_code=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text", ["", "{}", '{"names": {}, "sha256": {"../x.py": "0"}}', '{"names": [1], "sha256": 2}']
)
def test_a_damaged_index_is_refused(mixer: str, tmp_path: Path, text: str) -> None:
    folder, _ = saved(mixer, tmp_path)
    (folder / "code.json").write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        SequenceModel.from_pretrained(folder, trust_code=True)


def test_a_spec_in_yaml_runs_no_code_unless_trusted(mixer: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"layers: '[attention, {mixer}]'\n")
    with pytest.raises(ValueError, match=r"spec\.yaml.*names Python code"):
        create_model(path, vocab_size=5)
    with pytest.raises(ValueError, match="names Python code"):
        compare("recall", [path], out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "ran").exists()
    create_model(path, vocab_size=5, trust_code=True)
    assert (tmp_path / "ran").exists()


def test_what_the_user_types_runs(mixer: str) -> None:
    assert load_spec(f"{mixer} dim=8").layers[0].name == mixer
    create_model({"layers": [{"name": mixer}], "dim": 8}, vocab_size=5)


def _in_plan(mixer: str, folder: Path, field: str) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    if field == "spec":
        plan["tasks"][0]["candidates"][0]["spec"]["layers"][0]["options"] = {"channel": f"{mixer}(x=1)"}
    elif field == "source":
        plan["tasks"][0]["source"] = mixer
    (folder / "plan.json").write_text(json.dumps(plan))


@pytest.mark.parametrize("field", ["spec", "source"])
def test_a_plan_runs_no_code_unless_trusted(mixer: str, tmp_path: Path, field: str, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["anyformer.compare.session"], "carry_out", lambda *args: None)
    compare("recall", "transformer dim=16", out=tmp_path / "out", budget="5 steps", quiet=True)
    _in_plan(mixer, tmp_path / "out", field)
    with pytest.raises(ValueError, match=r"plan\.json.*names Python code.*trust_code"):
        resume(tmp_path / "out", quiet=True)
    assert not (tmp_path / "ran").exists()


def test_a_training_runs_no_code_unless_trusted(mixer: str, tmp_path: Path) -> None:
    Fit.start(tmp_path / "fit", "recall", f"{mixer} dim=8", steps=2)
    with pytest.raises(ValueError, match=r"train\.json.*names Python code"):
        Fit.resume(tmp_path / "fit")
    fit = Fit.resume(tmp_path / "fit", trust_code=True)
    fit.run()
    assert load_bundle(tmp_path / "fit", trust_code=True).facts["step"] == 2
    assert list((tmp_path / "fit").glob("code/*/near/scaling.py"))


def test_a_checkpoint_of_another_library_never_names_code(mixer: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_act": mixer}))
    with pytest.raises(ValueError, match="names Python code.*never run"):
        from_hf(tmp_path)


def test_an_encoder_decoder_is_held_to_the_same(mixer: str, tmp_path: Path) -> None:
    spec = load_spec("encoder_decoder dim=16", layers=f"[attention, {mixer}]").model_dump()
    EncoderDecoder(spec, vocab_size=5).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="names Python code"):
        EncoderDecoder.from_pretrained(tmp_path / "model")
    EncoderDecoder.from_pretrained(tmp_path / "model", trust_code=True)


def test_a_neighbour_of_a_loaded_name_is_refused_unless_it_is_the_same(mixer: str, tmp_path: Path) -> None:
    create_model(f"[{mixer}] dim=8", vocab_size=5)
    shutil.copytree(tmp_path / "mine", tmp_path / "same")
    create_model(f"[{tmp_path}/same/scale.py:Scale] dim=8", vocab_size=5)
    shutil.copytree(tmp_path / "mine", tmp_path / "other")
    (tmp_path / "other" / "near" / "scaling.py").write_text("FACTOR = 4.0\n")
    with pytest.raises(ValueError, match=r"imports 'near\.scaling' from its own folder, and another module"):
        create_model(f"[{tmp_path}/other/scale.py:Scale] dim=8", vocab_size=5)


def test_a_file_that_changed_runs_again(mixer: str) -> None:
    path = Path(mixer.rpartition(":")[0])
    before = create_model(f"[{mixer}] dim=8", vocab_size=5)
    path.write_text(path.read_text().replace("(dim,), FACTOR", "(dim, 1), FACTOR"))
    after = create_model(f"[{mixer}] dim=8", vocab_size=5)
    assert [m.body.stack.sublayers[0].scale.dim() for m in (before, after)] == [1, 2]


@pytest.mark.parametrize("file", ["scale.py", "near/scaling.py"])
def test_a_resumed_training_or_comparison_knows_its_code_again(
    mixer: str, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["anyformer.compare.session"], "carry_out", lambda *args: None)
    Fit.start(tmp_path / "fit", "recall", f"{mixer} dim=8", steps=2)
    compare("recall", f"{mixer} dim=8", out=tmp_path / "out", budget="5 steps", quiet=True)
    changed = tmp_path / "mine" / file
    changed.write_text(changed.read_text() + "\n# another\n")
    _forget()
    for go_on in (lambda: Fit.resume(tmp_path / "fit", trust_code=True),
                  lambda: resume(tmp_path / "out", trust_code=True, quiet=True)):  # fmt: skip
        with pytest.raises(ValueError, match=rf"code of 'recall' changed: .*{file} has .* bytes"):
            go_on()
    assert Fit.resume(tmp_path / "fit", trust_code=True, accept_changed_data=True).trainer.step == 0


NESTED: list[tuple[Callable[[str], object], str]] = [
    (lambda name: {"layers": [{"name": name}]}, "a name"),
    (lambda name: {"channel": f"[{name}*3]"}, "a line"),
    (lambda name: {"a": [{"b": ({"c": f"mlp(activation={name})"},)}]}, "deep in options"),
    (lambda name: {f"{name}": 1}, "a key"),
]


@pytest.mark.parametrize("config, where", NESTED, ids=[where for _, where in NESTED])
def test_names_are_found_wherever_they_stand(config: Callable[[str], object], where: str) -> None:
    for name in ("evil.py:X", "/tmp/a b/evil.py:X", "C:\\x\\evil.py:X"):
        with pytest.raises(ValueError, match=r"evil\.py:X"):
            refuse_code(config(name), where)
    assert named_files({"layers": [{"name": "retention"}], "text": "a .py file"}) == []
