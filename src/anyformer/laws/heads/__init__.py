"""The laws that heads obey, one file for each subject: from hidden states to outputs, loss and answers."""

from anyformer.laws.heads.cases import HeadCase, head_cases
from anyformer.laws.heads.run import check_head

__all__ = ["HeadCase", "check_head", "head_cases"]
