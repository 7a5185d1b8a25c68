"""Sizes of candidates: the common one, and the width at which each candidate has it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from anyformer.compare.plan.names import Model
from anyformer.compare.plan.schema import PlannedCandidate
from anyformer.compare.results.failures import explain
from anyformer.embed import DEFAULT
from anyformer.models import ModelSpec, load_spec, match_parameters
from anyformer.models.size import count_parameters, flops_per_token, nearest_size
from anyformer.schema import InputFacts
from anyformer.tasks import Task
from anyformer.train import model_for
from anyformer.train.models import io_for

TOLERANCE = 0.02
TABLE_WIDTH = 64
"""Width of the tables whose rows are values of the data, where they would be most of a model."""


def stated_size(task: Task, models: Mapping[str, Model], specs: Mapping[str, ModelSpec]) -> int | None:
    """Return the number of parameters of the first candidate whose width the user gave, or None."""
    for name, given in models.items():
        stated = isinstance(given, ModelSpec) or "dim" in given if isinstance(given, Mapping) else False
        if isinstance(given, (str, Path)):
            stated = bool(re.search(r"\bdim\s*=", str(given))) or str(given).endswith((".yaml", ".yml"))
        if stated or isinstance(given, ModelSpec):
            try:
                return count_parameters(specs[name], **io_for(task))
            except ValueError:
                continue
    return None


def common_size(task: Task, specs: Iterable[ModelSpec], wanted: int, tables: int = 0) -> int:
    """Return a size near the wanted one that the candidate with the coarsest steps of size has exactly.

    The others, whose sizes grow in finer steps with the width, can then be matched to it. ``tables`` are the parameters
    in it that no width changes.
    """
    rest = 1 - tables / wanted
    size, farthest = wanted, rest * TOLERANCE / 2
    for spec in specs:
        try:
            found = count_parameters(
                nearest_size(spec, wanted, tolerance=farthest, **io_for(task)), **io_for(task)
            )
        except ValueError:
            continue  # it cannot be built at all; planning it reports that
        away = abs(found / wanted - 1)
        if farthest < away < 0.5 * rest:
            size, farthest = found, away
    return size


def smallest_fair_size(task: Task) -> int:
    """Return a number of parameters at which embedding and head are the smaller part of a model."""
    before = task.source or InputFacts(num_features=1)
    fields = {field for facts in (task.stream, before.stream) if facts is not None for field in facts.fields}
    tables = [
        *{task.vocab_size, before.vocab_size},
        *(field.size for field in fields),
    ]  # equal ones are shared
    rows = sum(size or 0 for size in tables) + task.objective.num_outputs
    return 2 * 32 * rows


def with_tables(task: Task, specs: Mapping[str, ModelSpec], rest: int) -> tuple[dict[str, ModelSpec], int]:
    """Return specs whose tables have one width, and the parameters in these; 0 if the tables stay as they are.

    Tables of a catalogue would be nearly all parameters of every candidate, so that bodies of very different sizes
    matched. They get the width ``TABLE_WIDTH`` in all candidates, with linear maps to the width of the body, so that
    the ``rest`` of the parameters can be matched. Specs with a head or an embedder of their own stay.
    """
    if not task.objective.asked_only or task.stream is None or smallest_fair_size(task) <= rest:
        return dict(specs), 0
    found = {
        name: spec
        if spec.embed.name != DEFAULT or "rank" in spec.embed.options or spec.head.name != "linear"
        else load_spec(spec, embed=f"field_sum(rank={TABLE_WIDTH})", head=f"low_rank(rank={TABLE_WIDTH})")
        for name, spec in specs.items()
    }
    rows = sum(field.size or 0 for field in task.stream.fields if (field.size or 0) > TABLE_WIDTH)
    outputs = task.objective.num_outputs
    return found, TABLE_WIDTH * (rows + outputs) + outputs


def plan_candidate(
    task: Task,
    name: str,
    given: str,
    spec: ModelSpec,
    wanted: int,
    flops: float | None,
    tables: int = 0,
) -> PlannedCandidate:
    """Return the candidate at its solved width, or with the problem that prevents it.

    Args:
        given: as the user wrote it.
        spec: before its size is solved.
        wanted: number of parameters.
        flops: FLOPs for a token to match instead of the parameters, if not None.
        tables: parameters that all have in tables (:func:`with_tables`); the others are matched.
    """
    try:
        if flops is None:
            tolerance = TOLERANCE * (1 - tables / wanted)
            sized = match_parameters(spec, wanted, tolerance=tolerance, **io_for(task))
        else:
            sized = _match_flops(task, spec, wanted, flops)
        model = model_for(task, sized)
    except Exception as error:
        problem = str(error) if isinstance(error, ValueError) else explain(error)[1]
        return PlannedCandidate(
            name=name, given=given, asked=spec.model_dump(), problem=" ".join(problem.split())
        )
    return PlannedCandidate(
        name=name,
        given=given,
        asked=spec.model_dump(),
        spec=sized.model_dump(),
        parameters=model.num_parameters(),
        width=sized.dim,
    )


def _flops(task: Task, spec: ModelSpec) -> float:
    batch, model = task.train_batch(0, 1), model_for(task, spec)
    length = (
        None if model.fixed_length is None else task.train_length
    )  # embedders differ in how many tokens they make
    return flops_per_token(model, batch.inputs, batch.source, length)


def flops_at(task: Task, specs: Mapping[str, ModelSpec], wanted: int) -> float:
    """Return the FLOPs for a token of the first candidate that can be built at the wanted size.

    Raises:
        ValueError: if none can.
    """
    problems = []
    for name, spec in specs.items():
        try:
            return _flops(task, match_parameters(spec, wanted, tolerance=0.1, **io_for(task)))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    raise ValueError(f"no candidate can do task {task.name!r}: {'; '.join(problems)}")


def _match_flops(task: Task, spec: ModelSpec, start: int, goal: float) -> ModelSpec:
    """Solve for the width at which a token costs ``goal`` FLOPs, by bisection over the number of parameters.

    Raises:
        ValueError: if no width comes near enough.
    """
    low, high = start / 30, start * 30.0
    best: tuple[float, ModelSpec] | None = None
    for _ in range(14):
        middle = math.sqrt(low * high)
        try:
            sized = match_parameters(spec, int(middle), tolerance=0.3, **io_for(task))
        except ValueError:
            low = middle
            continue
        cost = _flops(task, sized)
        away = abs(cost / goal - 1)
        if best is None or away < best[0]:
            best = (away, sized)
        if away <= TOLERANCE / 2:
            break
        low, high = (middle, high) if cost < goal else (low, middle)
    if best is not None and best[0] > TOLERANCE:
        best = min(best, _fit_hidden(task, best[1], goal), key=lambda found: found[0])
    if best is None or best[0] > TOLERANCE:
        nearest = "" if best is None else f"; the nearest, dim={best[1].dim}, is {best[0]:.0%} away"
        raise ValueError(f"no width comes within {TOLERANCE:.0%} of {goal:,.0f} FLOPs a token{nearest}")
    return best[1]


def _fit_hidden(task: Task, spec: ModelSpec, goal: float) -> tuple[float, ModelSpec]:
    """Fit the hidden width of the channel mixer, in which FLOPs are linear; returns the relative error and the spec."""
    if spec.channel is None or "hidden_dim" not in spec.channel.options:
        return math.inf, spec
    channel = spec.channel

    def at(hidden: int) -> ModelSpec:
        options = {**channel.options, "hidden_dim": hidden}
        return spec.model_copy(update={"channel": channel.model_copy(update={"options": options})})

    hidden = channel.options["hidden_dim"]
    here, there = _flops(task, spec), _flops(task, at(hidden + 8))
    fitted = at(max(1, hidden + round(8 * (goal - here) / (there - here))))
    return abs(_flops(task, fitted) / goal - 1), fitted
