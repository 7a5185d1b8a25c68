"""Registries: explicit ids, one entry each, lazy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import anyformer.embed
import anyformer.layers.activations
import anyformer.layers.norms
import anyformer.positions
import anyformer.stack
import anyformer.wrappers
from anyformer import create_mixer, list_mixers, mixer_info
from anyformer.channels import channels
from anyformer.embed import embedders
from anyformer.layers.activations import activations
from anyformer.layers.norms import norms
from anyformer.mixers import mixers
from anyformer.models import models
from anyformer.positions import positions
from anyformer.registry import Registry, modules_in, registered_in
from anyformer.stack import residuals
from anyformer.wrappers import wrappers

REGISTRIES = [mixers, channels, wrappers, positions, residuals, norms, activations, embedders, models]
FOLDERS = [r for r in REGISTRIES if r is not models]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_what_is_listed_is_registered_there(registry: Registry) -> None:
    for id, module in registry.manifest.items():
        entry = registry.get(id)
        assert entry.target.__module__ == module, f"{id} is registered by {entry.target.__module__}"
        assert entry.summary, f"{id} has no docstring"


@pytest.mark.parametrize("registry", FOLDERS, ids=lambda r: r.kind)
def test_a_file_is_called_by_its_id_and_a_folder_keeps_nothing_else(registry: Registry) -> None:
    package = next(iter(registry.manifest.values())).split(".")
    folder = Path(
        sys.modules[".".join(package[: 3 if registry.kind in ("norm", "activation") else 2])].__file__ or ""
    ).parent
    files = {p.stem: p for p in folder.rglob("*.py") if not p.stem.startswith("_")}
    assert files.keys() == registry.manifest.keys()
    for id, file in files.items():
        assert f'("{id}"' in re.sub(r"\(\s+", "(", file.read_text(encoding="utf-8")), (
            f"{file} does not register {id}"
        )


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for family in ("a", "b"):
        (tmp_path / family).mkdir()
        (tmp_path / family / "__init__.py").touch()
    (tmp_path / "a" / "one.py").touch()
    (tmp_path / "b" / "_helper.py").touch()
    assert modules_in("p", [str(tmp_path)]) == {"one": "p.a.one"}
    (tmp_path / "b" / "one.py").touch()
    with pytest.raises(ValueError, match=r"'one' is both p\.a\.one and p\.b\.one"):
        modules_in("p", [str(tmp_path)])


def test_files_that_register_several(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '@name("one")\n@other("two")\ndef one(): ...\n\n\n@name(\n    "three", examples=[])\n'
    )
    assert registered_in("p", tmp_path, "name") == {"one": "p.a", "three": "p.a"}
    (tmp_path / "b.py").write_text('@name("one")\n')
    with pytest.raises(ValueError, match=r"'one' is both in p\.a and in p\.b"):
        registered_in("p", tmp_path, "name")


def test_a_family_is_a_folder() -> None:
    assert mixers.family("retention") == "linear" and channels.family("mlp") == "channels"
    assert mixers.family("somebody's") == ""


@pytest.mark.parametrize(
    "kind", ["channel", "mixer", "position", "norm", "activation", "residual", "wrapper", "embedder"]
)
def test_every_kind_has_the_same_trio(kind: str) -> None:
    module = {
        "residual": anyformer.stack,
        "embedder": anyformer.embed,
        "norm": anyformer.layers.norms,
        "activation": anyformer.layers.activations,
    }.get(kind) or getattr(anyformer, f"{kind}s")
    for name in (f"create_{kind}", f"{kind}_info", f"list_{kind}s", f"register_{kind}"):
        assert callable(getattr(module, name))
    assert getattr(module, f"list_{kind}s")() == getattr(module, f"{kind}s").ids()


def test_a_second_part_of_the_same_id_raises() -> None:
    registry: Registry[type] = Registry("thing", {})
    registry.register("a")(int)
    registry.register("a")(int)
    with pytest.raises(ValueError, match="thing 'a' is already registered by builtins.int"):
        registry.register("a")(float)


def test_unknown_ids_answer_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown mixer 'retnention'; did you mean 'retention'"):
        mixers.get("retnention")
    with pytest.raises(ValueError, match="must be named by a string, got int"):
        mixers.get(3)  # type: ignore[arg-type]


def test_listing_by_what_a_mixer_is() -> None:
    assert "retention" in list_mixers(causal=True, state="constant")
    assert "attention" not in list_mixers(state="constant")
    assert mixer_info("attention", window=4).state == "constant"
    with pytest.raises(ValueError, match="info has no field 'stat'; did you mean 'state'"):
        list_mixers(stat="n")


def test_a_mixer_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from anyformer import Mixer, MixerInfo\n"
        "class Mine(Mixer):\n"
        "    '''Passes everything on.'''\n"
        "    class Options(Mixer.Options):\n"
        "        def info(self): return MixerInfo(reach=(0, 0))\n"
        "    def _forward(self, x, inputs): return x\n",
        encoding="utf-8",
    )
    assert mixers.get(f"{file}:Mine").target.__name__ == "Mine"
    with pytest.raises(ValueError, match="has no 'Mime'; did you mean 'Mine'"):
        mixers.get(f"{file}:Mime")
    with pytest.raises(ValueError, match="there is no file"):
        mixers.get(f"{tmp_path}/no.py:Mine")


def test_a_mixer_whose_constructor_takes_no_options(tmp_path: Path) -> None:
    file = tmp_path / "deaf.py"
    file.write_text(
        "from anyformer import Mixer, MixerInfo\n"
        "class Deaf(Mixer):\n"
        "    class Options(Mixer.Options):\n"
        "        def info(self): return MixerInfo(reach=(0, 0))\n"
        "    def __init__(self, dim): super().__init__(dim)\n",
        encoding="utf-8",
    )
    assert create_mixer(f"{file}:Deaf", 4).options.causal is True
    with pytest.raises(ValueError, match=r"cannot be built.*__init__ must take \*\*options"):
        create_mixer(f"{file}:Deaf", 4, causal=True)


def test_listing_imports_no_mixer() -> None:
    code = (
        "import sys, anyformer; anyformer.list_mixers(); "
        "assert not [m for m in sys.modules if m.startswith('anyformer.mixers.')], 'a mixer was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_part_of_a_users_file_takes_the_place_of_that_of_its_copy(tmp_path: Path) -> None:
    text = "from anyformer.mixers import register_mixer\nfrom anyformer.mixers.softmax.attention import Attention\n\n\n"
    text += '@register_mixer("of_a_file")\nclass Mine(Attention):\n    pass\n'
    found = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text)
        found.append(mixers.get(f"{tmp_path}/{folder}/mine.py:Mine").target)
    assert found[0] is not found[1] and mixers.get("of_a_file").target is found[1]
    (tmp_path / "other.py").write_text(text)
    with pytest.raises(ValueError, match="mixer 'of_a_file' is already registered by mine.Mine"):
        mixers.get(f"{tmp_path}/other.py:Mine")
    mixers._entries.pop("of_a_file")
