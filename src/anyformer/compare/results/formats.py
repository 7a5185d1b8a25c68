"""Format of figures and lists in texts, shared by the verdict, the terminal and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from shlex import quote

from anyformer.compare.results.measurements import CandidateResult, SeedRun
from anyformer.compare.results.schema import Confidence, TaskResult
from anyformer.metrics import MetricInfo


def join(names: Sequence[str]) -> str:
    """Join names in words: ``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def amount(value: float | None, digits: int = 3) -> str:
    """Format a figure with so many significant digits, without an exponent between 1e-4 and 1e7."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 7 or size < -4:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - size)
    return f"{value:,.{places}f}"


def format_scores(metric: MetricInfo, values: Sequence[float], digits: int = 4) -> list[str]:
    """Format scores with the same number of decimals: the metric's, or else ``digits`` digits of the largest one."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if metric.places is not None:
        places = metric.places
    elif largest == 0 or not 1e-4 <= largest < 1e7:
        return [amount(value, digits) for value in values]
    else:
        places = max(0, digits - 1 - math.floor(math.log10(largest)))
    texts = [f"{value:,.{places}f}" if math.isfinite(value) else "–" for value in values]
    return [text.lstrip("-") if not text.strip("-0.,") else text for text in texts]


def format_score(metric: MetricInfo, value: float) -> str:
    """Format one score."""
    return format_scores(metric, [value])[0]


def metric_title(metric: MetricInfo) -> str:
    """Return the name of a metric, with its unit unless the name contains it."""
    return f"{metric.name} ({metric.unit})" if metric.unit and metric.unit not in metric.name else metric.name


def score_with_unit(metric: MetricInfo, value: float) -> str:
    """Format one score with the unit of its metric."""
    return f"{format_score(metric, value)} {metric.unit}".rstrip()


def tick(text: str) -> str:
    """Remove trailing zeros from a formatted figure, for ticks of an axis: ``1.00 MiB`` becomes ``1 MiB``."""
    number, space, unit = text.partition(" ")
    if "." in number and "e" not in number:
        number = number.rstrip("0").rstrip(".")
    return number + space + unit


def rate(value: float | None) -> str:
    """Format a rate with a prefix: ``12.3k``, ``4.56M``."""
    return scaled(value, 1000.0, ("", "k", "M", "G", "T"))


def count(value: int | None) -> str:
    """Format a count with a prefix, like a rate."""
    return rate(float(value)) if value is not None else "–"


def size(value: float | None) -> str:
    """Format bytes in powers of 1024: ``1.50 MiB``."""
    return scaled(value, 1024.0, (" B", " KiB", " MiB", " GiB", " TiB"))


def scaled(value: float | None, base: float, units: Sequence[str]) -> str:
    """Format ``value`` in the largest of ``units``, each ``base`` times the one before, in which it is at least 1."""
    if value is None or not math.isfinite(value):
        return "–"
    power = 0
    while abs(value) >= base * 0.9995 and power < len(units) - 1:
        value /= base
        power += 1
    plain = ".3g" if abs(value) < 999.5 else ".0f"
    return f"{amount(value) if power else format(value, plain)}{units[power]}"


def duration(seconds: float | None) -> str:
    """Format a time: ``0.4 s``, ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def best_steps(runs: Sequence[SeedRun], steps: int) -> str:
    """Tell which weights count if they are not the last ones: ``best at step 300 of 900``; else "".

    Args:
        runs: the full runs of a candidate.
        steps: steps of a whole run.
    """
    early = [run for run in runs if run.best_step is not None and run.best_step != run.steps]
    if not early:
        return ""
    text = f"best at {_steps([run.best_step for run in early])} of {steps:,}"
    if len(early) < len(runs):
        text += f" in {len(early)} of {len(runs)} runs"
    over = [run.steps for run in early if run.steps is not None and run.steps < steps]
    return text + (f", and not trained beyond {_steps(over)}" if over else "")


def steps_trained(candidates: Sequence[CandidateResult], steps: int) -> str:
    """Return the steps of whole runs, ``901`` or ``450 to 6,300``; ``steps`` where candidates do not say their own."""
    return number_or_range([c.steps or steps for c in candidates if c.status == "ok"] or [steps])


def number_or_range(values: Sequence[int]) -> str:
    """Return ``901`` where all are equal, else the least and the largest, ``450 to 6,300``."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def ending_of(candidate: CandidateResult, steps: int) -> str:
    """Tell how the training of a candidate ended, if not like that of most: with its last weights, after all steps.

    Args:
        steps: of a whole run, where the candidate, in results of earlier versions, does not say its own.
    """
    stopped, steps = candidate.stopped, candidate.steps or steps
    text = "" if stopped is None else f"stopped at step {stopped.steps:,} of {steps:,}, too far behind"
    best = best_steps(candidate.runs, steps if stopped is None else stopped.steps)
    return "; ".join(part for part in (text, best) if part)


def _steps(steps: Sequence[int | None]) -> str:
    known = [step for step in steps if step is not None]
    return f"step{'s' * (len(set(known)) > 1)} {number_or_range(known)}"


def confidence(found: Confidence | None) -> str:
    """Return the sentence about the calibration of a saved model, "" if it has none."""
    if found is None:
        return ""
    return (
        f"Its probabilities have the temperature {amount(found.temperature)}, fitted on validation data for the run "
        f"that was scored; the calibration error of that run in test is {found.before:.3f} without it and "
        f"{found.after:.3f} with it."
    )


def how_to_use(result: TaskResult, model: str, new: str = "NEW_FILE") -> str:
    """Return the command that uses a task's saved model, or else the Python that loads it.

    Args:
        result: of the task.
        model: folder of the model.
        new: name of the file on which it predicts.
    """
    if result.task.predicts:
        return f"anyformer predict {quote(model)} {new}"
    if result.task.writes:
        return f"anyformer generate {quote(model)} --prompt ..."
    return f"SequenceModel.from_pretrained({model!r})"
