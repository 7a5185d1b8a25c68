"""The laws that every op obeys, one file for each subject, and the example calls on which they are run."""

from anyformer.laws.ops.run import check_op, op_names

__all__ = ["check_op", "op_names"]
