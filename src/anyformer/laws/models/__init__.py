"""The laws that whole models obey, one file for each subject: from tokens to logits, encoder and decoder together."""

from anyformer.laws.models.cases import ModelCase, model_cases
from anyformer.laws.models.run import check_model

__all__ = ["ModelCase", "check_model", "model_cases"]
