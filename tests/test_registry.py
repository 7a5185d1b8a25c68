"""Registries: explicit ids, one entry each, lazy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anyformer import create_mixer, list_mixers, mixer_info
from anyformer.blocks import blocks
from anyformer.channels import channels
from anyformer.mixers import mixers
from anyformer.models import models
from anyformer.positions import positions
from anyformer.registry import Registry

REGISTRIES = [mixers, channels, blocks, positions, models]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_the_manifest_and_the_decorators_agree(registry: Registry) -> None:
    for id, module in registry.manifest.items():
        entry = registry.get(id)
        assert entry.target.__module__ == module, f"{id} is registered by {entry.target.__module__}"
        assert entry.summary, f"{id} has no docstring"


@pytest.mark.parametrize("registry", [mixers, channels, blocks], ids=lambda r: r.kind)
def test_every_registering_module_is_in_the_manifest(registry: Registry) -> None:
    folder = Path(sys.modules[f"anyformer.{registry.kind}s"].__file__ or "").parent
    registering = {
        p.stem for p in folder.glob("*.py") if f"@register_{registry.kind}(" in p.read_text(encoding="utf-8")
    }
    assert registering == {module.rsplit(".", 1)[1] for module in registry.manifest.values()}


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
    assert {"transformer", "mqa", "gqa", "cross-layer-attention"} <= set(mixer_info("attention").papers)
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
