"""The laws that every mixer obeys, for anybody's mixers.

>>> from anyformer.testing import check_mixer
>>> check_mixer("retention")
>>> check_mixer(MyMixer, dim=16, options={"window": 3})
"""

from anyformer.testing.case import Case, LawBroken, all_targets, cases_of
from anyformer.testing.check import LAWS, Result, check_case, check_mixer

__all__ = ["LAWS", "Case", "LawBroken", "Result", "all_targets", "cases_of", "check_case", "check_mixer"]
