"""The laws that every op obeys, a file a subject, and the calls that they are held on."""

from anyformer.laws.ops.run import check_op, op_names

__all__ = ["check_op", "op_names"]
