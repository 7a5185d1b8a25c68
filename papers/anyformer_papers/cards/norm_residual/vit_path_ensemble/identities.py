"""Identities of Vision Transformers as path ensembles, and its study."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.laws.measures import close
from anyformer.models import SequenceModel, create_model
from anyformer.stack.path_ensemble import PathEnsemble
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={
        "path_ensemble": "[attention]*4 residual=path_ensemble channel=mlp norm=layer_norm causal=false "
        "positions=learned(max_length=64)",
        "pre": "[attention]*4 residual=pre channel=mlp norm=layer_norm causal=false "
        "positions=learned(max_length=64)",
    },
    smallest=0.02,
    expect="no worse",
    options={"canvas": 12},
    steps=1000,
    parameters=40_000,
)


def models() -> tuple[SequenceModel, SequenceModel, Tensor]:
    """A pre-norm classifier, the same one as an ensemble, and images."""
    spec = "[attention]*3 channel=mlp norm=layer_norm causal=false positions=learned(max_length=64) dim=16"
    plain, ensemble = (
        create_model(spec, residual=residual, num_features=4, num_outputs=10, pool="mean").double()
        for residual in ("pre", "path_ensemble")
    )
    ensemble.load_state_dict({**ensemble.state_dict(), **plain.state_dict()})
    return plain, ensemble, torch.randn(2, 16, 4, dtype=torch.float64)


def paths_of(model: SequenceModel, x: Tensor) -> list[Tensor]:
    """The input of the stack and what each sublayer writes."""
    found: list[Tensor] = []
    stack = model.body.stack
    handles = [stack.register_forward_pre_hook(lambda _, given: found.append(given[0]))]
    handles += [m.register_forward_hook(lambda _, given, y: found.append(y)) for m in stack.mixers]
    model(x)
    for handle in handles:
        handle.remove()
    return found


@identity("the input and the outputs of all sublayers, 2L + 1 paths, add up to what the last norm reads")
def paths_add_up() -> None:
    plain, _, x = models()
    read: list[Tensor] = []
    plain.body.stack.residual.last.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    paths = paths_of(plain, x)
    assert len(paths) == 2 * 3 + 1
    close("stream", torch.stack(paths).sum(0), read[0])


@identity(
    "with all weights one the ensemble gives the classifier's logits; a weight is that path's share of the end"
)
def weights() -> None:
    plain, ensemble, x = models()
    close("logits", ensemble(x), plain(x))
    residual = ensemble.body.stack.residual
    assert isinstance(residual, PathEnsemble)
    residual.path_weights.data = torch.randn(7, 16, dtype=torch.float64)
    terms = [w * p for w, p in zip(residual.path_weights, paths_of(plain, x), strict=True)]
    mixed = torch.stack(terms).sum(0)
    close("weighed", ensemble(x), plain.head(plain.body.stack.residual.last(mixed).mean(1)))


@identity(
    "pruning takes a path from the classifier alone: what every sublayer reads and writes stays the same"
)
def pruning() -> None:
    plain, ensemble, x = models()
    residual = ensemble.body.stack.residual
    assert isinstance(residual, PathEnsemble)
    residual.path_weights.data[2] = 0
    for before, after in zip(paths_of(plain, x), paths_of(ensemble, x), strict=True):
        close("paths", after, before)
    assert (ensemble(x) - plain(x)).abs().max() > 1e-3
    cut, _, _ = models()
    cut.load_state_dict(plain.state_dict())
    for p in cut.body.stack.mixers[1].parameters():
        nn.init.zeros_(p)  # the sublayer itself is taken out: what is above sees it
    assert (cut(x) - ensemble(x)).abs().max() > 1e-6
