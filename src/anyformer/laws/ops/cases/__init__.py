"""Example calls of every op, at any sizes, on which the laws over ops are held. A file holds a family of ops."""

import importlib
import pkgutil

from anyformer.laws.ops.cases.case import Draw, OpCase, Sizes, op_cases, op_family, path_of

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

HELPERS = frozenset({"can_attend", "recomputed"})
"""Public functions of ops that compute nothing, and so need no example."""

__all__ = ["HELPERS", "Draw", "OpCase", "Sizes", "op_cases", "op_family", "path_of"]
