"""The laws that every mixer obeys, one file for each subject. They can be run on anybody's mixers.

>>> from anyformer.laws import check_mixer
>>> check_mixer("retention")
>>> check_mixer(MyMixer, dim=16, options={"window": 3})
"""

from anyformer.laws.case import Case, LawBroken, all_targets, cases_of
from anyformer.laws.embedders import check_embedder
from anyformer.laws.heads import check_head
from anyformer.laws.models import check_model, model_cases
from anyformer.laws.ops import check_op, op_names
from anyformer.laws.registry import (
    EMBEDDER_LAWS,
    HEAD_LAWS,
    LAWS,
    MODEL_LAWS,
    OP_LAWS,
    TASK_LAWS,
    Law,
    Laws,
    register_embedder_law,
    register_head_law,
    register_law,
    register_model_law,
    register_op_law,
    register_task_law,
)
from anyformer.laws.run import Result, check_case, check_mixer
from anyformer.laws.tasks import check_task

__all__ = [
    "EMBEDDER_LAWS",
    "HEAD_LAWS",
    "LAWS",
    "MODEL_LAWS",
    "OP_LAWS",
    "TASK_LAWS",
    "Case",
    "Law",
    "LawBroken",
    "Laws",
    "Result",
    "all_targets",
    "cases_of",
    "check_case",
    "check_embedder",
    "check_head",
    "check_mixer",
    "check_model",
    "check_op",
    "check_task",
    "model_cases",
    "op_names",
    "register_embedder_law",
    "register_head_law",
    "register_law",
    "register_model_law",
    "register_op_law",
    "register_task_law",
]
