"""The laws that every mixer obeys, for anybody's mixers.

>>> from anyformer.laws import check_mixer
>>> check_mixer("retention")
>>> check_mixer(MyMixer, dim=16, options={"window": 3})
"""

from anyformer.laws.case import Case, LawBroken, all_targets, cases_of
from anyformer.laws.check import LAWS, Result, check_case, check_mixer
from anyformer.laws.op_laws import LAWS as OP_LAWS
from anyformer.laws.op_laws import check_op, op_names

__all__ = [
    "LAWS",
    "OP_LAWS",
    "Case",
    "LawBroken",
    "Result",
    "all_targets",
    "cases_of",
    "check_case",
    "check_mixer",
    "check_op",
    "op_names",
]
