"""Comparison of architectures on a task, on equal terms, with a verdict on which one to use.

``compare.py`` has the entry points, ``resumption.py`` continues a comparison, ``session.py`` carries a plan out.

=========== =====================================================================================================
``plan/``    the budget and what each run gets of it (``allocation``), candidates (``names``, ``sizes``), the search
             for learning rates (``learning_rate_search``), longer training (``more``), ``plan.json`` (``schema``)
``run/``     the ``scheduler``, the ``work_queue``, the ``pool`` of ``worker`` processes, a ``unit`` of work, its
             execution (``executor``) and its files (``unit_files``), ``costs``
``verdict/`` ``confidence_intervals`` and significance, the leaderboard and the verdict (``judge``), whether there was
             enough training (``undertrained``)
``report/``  the page and its ``figures``, the ``terminal``
``results/`` the schema of ``results.json``, the format of figures in texts (``formats``), and the mark of a finished
             comparison (``finished``)
=========== =====================================================================================================

Each folder imports only those after it in this order: report, verdict, run, plan, results.
"""

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
