"""Objectives: the meaning of a model's outputs, and the loss they are trained with."""

from __future__ import annotations

from anyformer.objectives.base import Objective
from anyformer.objectives.discrete import Classify, NextItem, NextToken
from anyformer.objectives.labels import Labels
from anyformer.objectives.numeric import Forecast, QuantileForecast, Regress
from anyformer.objectives.tags import Tags
from anyformer.questions import IGNORED

__all__ = [
    "IGNORED",
    "Classify",
    "Forecast",
    "Labels",
    "NextItem",
    "NextToken",
    "Objective",
    "QuantileForecast",
    "Regress",
    "Tags",
]
