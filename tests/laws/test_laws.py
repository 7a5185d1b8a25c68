"""Every registered part obeys every law that applies to it, with the native kernels and without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from torch import Tensor

from anyformer import Mixer, MixerInfo, kernels
from anyformer.contract import Inputs
from anyformer.embed import list_embedders
from anyformer.heads import list_heads
from anyformer.laws import (
    LAWS,
    Case,
    all_targets,
    cases_of,
    check_case,
    check_embedder,
    check_head,
    check_model,
    transforms,
)
from anyformer.models import PartSpec, list_models, load_spec
from anyformer.ops import use_native

CASES = {target: cases_of(target) for target in all_targets()}
PARTS = [case for target, cases in CASES.items() if not target.startswith("model:") for case in cases]
MODELS = [case for target, cases in CASES.items() if target.startswith("model:") for case in cases]


def broken(case: Case, laws: Iterable[str] = LAWS) -> list[str]:
    return [f"{r.law} ({r.outcome}): {r.detail}" for r in check_case(case, laws) if not r.good]


def structure(name: str) -> tuple[object, ...]:
    """Return how the parts of a model stand together: residual, wrappers, an encoder, a prefix, shared layers."""
    spec = load_spec(name)
    parts = list(all_parts([*spec.layers, *(spec.encoder.layers if spec.encoder else [])]))
    wrappers, shared = {part.name for part in parts if part.inner}, any(part.tag for part in parts)
    return spec.residual, spec.pattern, frozenset(wrappers), bool(spec.encoder), spec.prefix > 0, shared


def all_parts(layers: Sequence[PartSpec]) -> Iterator[PartSpec]:
    for part in layers:
        yield part
        for stack in part.inner:
            yield from all_parts(stack)


FIRST = {structure(name): name for name in reversed(list_models())}
"""The first model of each structure: it is compiled here, and run without kernels; the others are in the slow tests."""


def under_kernels(case: Case, monkeypatch: pytest.MonkeyPatch, laws: Iterable[str] = LAWS) -> list[str]:
    """Hold a case to the laws: those under which a native kernel ran, or an op asked whether there are any.

    Under the others the run without kernels would be the same again.
    """
    asked: list[str] = []
    run, status = kernels.run, kernels.status

    def counted(name: str, *args: Any) -> None:
        asked.append(name)
        run(name, *args)

    def seen() -> kernels.NativeStatus:
        asked.append("status")
        return status()

    found = []
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "run", counted)
        patch.setattr(kernels, "status", seen)
        for law in laws:
            asked.clear()
            assert not broken(case, [law])
            if asked:
                found.append(law)
    return found


def test_every_registered_part_is_here() -> None:
    assert len(PARTS) + len(MODELS) >= len(all_targets()) > 30


@pytest.mark.parametrize("case", PARTS, ids=lambda case: case.label)
def test_parts(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without kernels, compilation ends with the trace: what is in it is PyTorch's own."""
    again = under_kernels(case, monkeypatch)
    monkeypatch.setattr(transforms, "BACKEND", "eager")
    with use_native(False):
        assert not broken(case, again)


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.label)
def test_models(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """How parts stand together is compiled, and held without kernels, once; the laws of each part are above."""
    if case.label.removeprefix("model:").split()[0] not in FIRST.values():
        assert not broken(case, [law for law in LAWS if law != "compilation"])
        return
    again = under_kernels(case, monkeypatch)
    with use_native(False):
        assert not broken(case, [law for law in again if law != "compilation"])


@pytest.mark.parametrize("name", list_models())
def test_whole_models(name: str) -> None:
    """Tokens in, outputs out: encoder and decoder together, embeddings, heads and what is saved."""
    results = check_model(f"model:{name}")
    assert len(results) >= 6 and not [r for r in results if not r.good]


@pytest.mark.parametrize("name", list_embedders())
def test_embedders(name: str) -> None:
    assert not [r for r in check_embedder(name) if not r.good]


@pytest.mark.parametrize("name", list_heads())
def test_heads(name: str) -> None:
    assert not [r for r in check_head(name) if not r.good]


@pytest.mark.slow
@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.label)
@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
def test_every_model(case: Case, native: bool) -> None:
    with use_native(native):
        assert not broken(case, ["compilation"] if native else LAWS)


class Doubles(Mixer):
    """Runs no op."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return 2 * x


def test_whether_a_kernel_ran_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    if kernels.status().library is None:
        pytest.skip("no native kernels here")
    assert {"definition", "streaming", "compilation"} <= set(under_kernels(cases_of("mamba")[0], monkeypatch))
    assert under_kernels(cases_of(Doubles)[0], monkeypatch) == []
