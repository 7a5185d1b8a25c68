"""The main job: compare architectures on a task, on equal terms, and say which to use."""

from anyformer.compare.compare import Comparison, compare, help_out, resume
from anyformer.compare.plan.prepare import split_models
from anyformer.compare.plan.schema import Budget
from anyformer.compare.results import Results, TaskResult, Verdict

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
