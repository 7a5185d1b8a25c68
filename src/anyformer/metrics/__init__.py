"""Metrics: measures of answers, with unit, direction and uncertainty; one in each file, which is named by its id."""

from __future__ import annotations

from anyformer.metrics._base import Limits, Metric, MetricInfo, Ratio
from anyformer.metrics._spans import Span, are_spans, read_tag, spans_of
from anyformer.metrics._texts import edits, texts_of
from anyformer.questions import Question
from anyformer.registry import Registry, modules_in, near
from anyformer.spelling import option
from anyformer.user_code import MARK

__all__ = [
    "Limits",
    "Metric",
    "MetricInfo",
    "Ratio",
    "Span",
    "are_spans",
    "create_metric",
    "edits",
    "list_metrics",
    "metric_info",
    "metrics",
    "read_tag",
    "register_metric",
    "spans_of",
    "texts_of",
]

metrics: Registry[type[Metric]] = Registry("metric", modules_in(__name__, __path__))
register_metric = metrics.register


def create_metric(name: str, question: Question, *, best: float | None = None) -> Metric:
    """Create the metric of that name for answers to a question.

    Args:
        name: one of :func:`list_metrics`, in any case, or ``file.py:Name`` for one of your own.
        question: the question asked of the model.
        best: the best value that can be expected, if it is not the limit itself.

    Raises:
        ValueError: there is none of that name, or it does not measure answers to this question; names those that do.
    """
    cls = _metric_class(name, question)
    if reason := cls.refuses(question):
        raise ValueError(f"{option('metric')}: {name!r} {reason}; {_fitting(question)}")
    return cls(question, best=best)


def metric_info(name: str) -> MetricInfo:
    """Return the facts of a metric that hold for every question."""
    return _metric_class(name).describe()


def list_metrics(question: Question | None = None) -> list[str]:
    """Return the ids of all metrics, or of those that measure answers to a question, sorted."""
    return [id for id in metrics.ids() if question is None or not metrics.get(id).target.refuses(question)]


def _metric_class(name: str, question: Question | None = None) -> type[Metric]:
    if isinstance(name, str) and MARK not in name:
        id = name.strip().casefold().replace(" ", "_").replace("-", "_").replace("@", "_at_")
        if id not in metrics:
            raise ValueError(
                f"{option('metric')}: there is no metric {name!r}{near(id, metrics.ids())}; {_fitting(question)}"
            )
        name = id
    cls = metrics.get(name).target
    if not (isinstance(cls, type) and issubclass(cls, Metric)):
        raise ValueError(f"metric {name!r} must be a subclass of anyformer.metrics.Metric, got {cls!r}")
    return cls


def _fitting(question: Question | None) -> str:
    known = ", ".join(list_metrics(question))
    return f"known: {known}" if question is None else f"these measure what is asked here: {known}"
