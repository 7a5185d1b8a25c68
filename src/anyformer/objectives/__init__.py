"""Objectives: what a model's outputs mean, the loss they are trained with, and what is measured of them."""

from __future__ import annotations

from anyformer.objectives.base import IGNORED, Objective
from anyformer.objectives.discrete import Classify, NextToken
from anyformer.objectives.numeric import Forecast, Regress

__all__ = ["IGNORED", "Classify", "Forecast", "NextToken", "Objective", "Regress"]
