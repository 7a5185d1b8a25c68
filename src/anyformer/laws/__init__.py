"""The laws that every mixer obeys, one file for each subject. They can be run on anybody's mixers.

>>> from anyformer.laws import check_mixer
>>> check_mixer("retention")
>>> check_mixer(MyMixer, dim=16, options={"window": 3})
"""

from anyformer.laws.case import Case, LawBroken, all_targets, cases_of
from anyformer.laws.models import check_model, model_cases
from anyformer.laws.ops import check_op, op_names
from anyformer.laws.registry import (
    LAWS,
    MODEL_LAWS,
    OP_LAWS,
    Law,
    Laws,
    register_law,
    register_model_law,
    register_op_law,
)
from anyformer.laws.run import Result, check_case, check_mixer

__all__ = [
    "LAWS",
    "MODEL_LAWS",
    "OP_LAWS",
    "Case",
    "Law",
    "LawBroken",
    "Laws",
    "Result",
    "all_targets",
    "cases_of",
    "check_case",
    "check_mixer",
    "check_model",
    "check_op",
    "model_cases",
    "op_names",
    "register_law",
    "register_model_law",
    "register_op_law",
]
