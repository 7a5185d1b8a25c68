"""The laws that tasks obey, one file for each subject: from a reader's file to batches, and from outputs to answers."""

from anyformer.laws.tasks.cases import TaskCase
from anyformer.laws.tasks.run import check_task

__all__ = ["TaskCase", "check_task"]
