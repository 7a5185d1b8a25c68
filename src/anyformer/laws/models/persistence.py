"""Laws of persistence: whole models are saved, loaded and copied without a change."""

from __future__ import annotations

import copy
from contextlib import redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory

import torch

from anyformer.laws.measures import LENGTH, close
from anyformer.laws.models.cases import ModelCase
from anyformer.laws.registry import register_model_law


@register_model_law("persistence")
@torch.no_grad()
def persistence(case: ModelCase) -> bool:
    """A model that is saved to a folder and loaded, or copied, gives the same outputs bit for bit."""
    model = case.model(torch.float32)
    tokens = case.tokens(model, 2, LENGTH)
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), redirect_stdout(StringIO()):
        torch.manual_seed(99)  # parameters that are drawn but not saved would differ
        model.save_pretrained(folder)
        loaded = type(model).from_pretrained(folder)
    close("output of the loaded model", tokens(loaded.to(case.device).eval()), tokens(model), 0.0)
    close("output of a deep copy", tokens(copy.deepcopy(model)), tokens(model), 0.0)
    return True
