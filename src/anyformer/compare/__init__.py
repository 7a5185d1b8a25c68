"""The main job: compare architectures on a task, on equal terms, and say which to use."""

from anyformer.compare.compare import compare, help_out, resume
from anyformer.compare.plan.budget import Budget
from anyformer.compare.plan.names import split_models
from anyformer.compare.results import Results, TaskResult, Verdict
from anyformer.compare.session import Comparison

__all__ = [
    "Budget",
    "Comparison",
    "Results",
    "TaskResult",
    "Verdict",
    "compare",
    "help_out",
    "resume",
    "split_models",
]
