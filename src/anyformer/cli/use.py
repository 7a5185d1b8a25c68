"""``anyformer train``, ``predict`` and ``generate``: one model, from data to answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from anyformer.cli.main import METRIC_HELP, DataCommand, app, console, one_message, task_of

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from anyformer.train import Fit
    from anyformer.train.logs import Log

MOST_ROWS = 40
MOST_COLUMNS = 8


@app.command(cls=DataCommand)
@one_message
def train(
    out: Annotated[Path, typer.Option(help="Folder for the model and its checkpoint.")],
    data: Annotated[str | None, typer.Argument(help="A task's name, or a file or folder of yours.")] = None,
    model: Annotated[str | None, typer.Option(help="A model's name, a spec, or FILE.yaml.")] = None,
    target: Annotated[
        str | None, typer.Option(help="The column to predict, or several between commas.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help=METRIC_HELP)] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; by default 300.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences in a step; by default 32.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest; by default 0.003.")] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="End after so many of the 10 validations in a row bring no better model; by default never."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Of training: auto (bfloat16 where the hardware has it), float32 or bfloat16."),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option("--compile", help="Compile the layers with torch.compile: for long trainings."),
    ] = None,
    checkpoint_activations: Annotated[
        bool | None,
        typer.Option(
            "--checkpoint-activations",
            help="Take less memory and a third more time: compute activations twice.",
        ),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Append the curves to this file, FILE.jsonl or FILE.csv.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the first weights, and of draws in training.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of the task: name=value.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in OUT.")] = False,
    accept_changed_data: Annotated[
        bool,
        typer.Option("--accept-changed-data", help="With --resume: begin anew where the data has changed."),
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code", help="Run the Python files that a FILE.yaml or a resumed training names."
        ),
    ] = False,
) -> None:
    """Train one model and keep the best of it, by validation, in a folder for predict and generate.

    Examples:
      anyformer train sales.csv --target amount --model mamba --out sales-model
      anyformer train texts/ --model "[attention*2, retention*2] dim=128" --steps 2000 --out writer
      anyformer train --out writer --resume
    """
    from anyformer.train import Diverged, Fit
    from anyformer.train.logs import log_file
    from anyformer.train.memory import keep_freed_memory, return_freed_memory

    logger = None if log is None else log_file(log)
    config: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "patience": patience,
        "precision": precision,
        "compile": compile,
        "checkpoint_activations": checkpoint_activations,
        "seed": seed,
    }
    config = {name: value for name, value in config.items() if value is not None}
    if resume:
        if config or option or data or model or target or metric:
            raise ValueError(
                "--resume continues as train.json in its folder says: it takes nothing besides --out and --log"
            )
        fit = Fit.resume(out, accept_changed_data=accept_changed_data, trust_code=trust_code)
    elif accept_changed_data:
        raise ValueError("--accept-changed-data is for resuming a training: give --resume too")
    elif data is None or model is None:
        raise ValueError("name the data or the task, and the model with --model (see anyformer list)")
    else:
        column, settings = task_of(data, target, metric, option)
        fit = Fit.start(out, data, model, target=column, options=settings, trust_code=trust_code, **config)
    return_freed_memory()  # what reading the data took
    keep_freed_memory()
    for note in fit.task.notes():
        _say(f"{fit.task.name}: {note}")
    _say(f"{fit.task.title} {fit.trainer.model.num_parameters():,} parameters on {fit.trainer.device}.")
    _say(f"Trained in {fit.trainer.precision.name}: {fit.trainer.precision.reason}.")
    try:
        _run(fit, logger)
    except Diverged as error:
        raise ValueError(f"training diverged: {error}; try a lower --learning-rate") from None
    except KeyboardInterrupt:
        trust = " --trust-code" if fit.plan.code else ""
        _say(f"Stopped. Continue with: anyformer train --out {out} --resume{trust}")
        raise
    _say_what_came_out(fit, out)


def _say_what_came_out(fit: Fit, out: Path) -> None:
    """Print where the model is, its scores, and how it is used."""
    _say(
        f"Saved in {out} as of step {fit.best_step} of {fit.plan.config.steps}, the best in validation: "
        f"{_metric(fit, fit.valid)}, in test {_metric(fit, fit.test)}"
    )
    if fit.stopped is not None:
        count = f"{fit.plan.patience} validation{'s' if fit.plan.patience != 1 else ''}"
        _say(f"Stopped at step {fit.stopped}, after {count} without a better model.")
    if fit.calibrated is not None:
        before, after = fit.calibrated.before, fit.calibrated.after
        _say(
            f"Its probabilities have the temperature {fit.calibrated.temperature:.3g}, fitted on validation data: "
            f"calibration error in test {before:.3f} before, {after:.3f} with it"
        )
    if fit.beside:
        named = ", ".join(f"{name} {value:.4g}" for name, value in fit.beside.items())
        _say(f"Also measured, of {min(fit.task.beside_items, fit.task.size('test'))} test samples: {named}")
    if fit.task.encoding is not None:
        data = "" if fit.task.encoding.continues else " DATA"
        trust = " --trust-code" if fit.plan.code else ""
        _say(f"Use it: anyformer predict {out}{data}{trust}")
    elif fit.trainer.model.pool is None:
        _say(f"Continue a prompt: anyformer generate {out} --prompt ...")


def _run(fit: Fit, log: Log | None) -> None:
    """Train, with a line that shows the progress."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (MofNCompleteColumn(), TextColumn("steps"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as line:
        bar = line.add_task("", total=fit.plan.config.steps, completed=fit.trainer.step)

        def show(fit: Fit) -> None:
            recent = fit.trainer.losses[-20:]
            valid = "" if fit.valid is None else f"   best validation {_metric(fit, fit.valid)}"
            told = f"loss {sum(recent) / len(recent):.4f}{valid}"
            line.update(bar, completed=fit.trainer.step, description=told)

        fit.run(show, log=log)


def _metric(fit: Fit, value: float | None) -> str:
    from anyformer.compare.results.formats import format_score

    metric = fit.task.metric.info
    unit = "" if metric.unit in metric.name else f" {metric.unit}"
    return f"{metric.name} {format_score(metric, float('nan') if value is None else value)}{unit}"


@app.command()
@one_message
def predict(
    model: Annotated[
        Path, typer.Argument(help="A folder with a model: OUT of train, OUT/winner of compare.")
    ],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="A file like the training data; forecasts and next items continue it, by default that file itself."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write all of it to this file, in the form of DATA.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the predictions: name=value, as top=20 for next items, width=8 for the search of texts."
        ),
    ] = None,
    future: Annotated[
        Path | None,
        typer.Option(
            help="A file with the rows after the end of the data: what is known ahead of a forecast."
        ),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the Python files that the folder names.")
    ] = False,
) -> None:
    """Forecast what follows the data, or tell the class or the numbers of each of its rows.

    Examples:
      anyformer predict out/winner
      anyformer predict out/winner new-rows.csv --out predictions.csv
      anyformer predict out/winner --future week.csv
    """
    from anyformer.tasks.options import typed_options
    from anyformer.train import load_bundle

    bundle = load_bundle(model, trust_code=trust_code)
    typed = [*(option or []), *([] if future is None else [f"future={future}"])]
    found = bundle.predict(data, options=typed_options(None, typed))
    for remark in found.remarks:
        _say(f"{found.data.name}: {remark}")
    if out is not None:
        found.save(out)
        _say(f"{len(found.table)} rows written to {out}")
    else:
        _say(f"predicted from {found.data}")
        _print(found.table)


@app.command("generate")
@one_message
def generate_text(
    model: Annotated[
        Path, typer.Argument(help="A folder with a model: OUT of train, OUT/winner of compare.")
    ],
    prompt: Annotated[str, typer.Option(help="Text for a model of bytes; else tokens, like '1 5 3'.")],
    max_new_tokens: Annotated[int, typer.Option(help="How many tokens, or bytes, to add.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest with this probability.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same tokens.")] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the Python files that the folder names.")
    ] = False,
) -> None:
    """Continue a prompt.

    Example:
      anyformer generate out/winner --prompt "def main(" --max-new-tokens 300
    """
    from anyformer.train import load_bundle

    bundle = load_bundle(model, trust_code=trust_code)
    new = bundle.generate(
        prompt, max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    between = "" if bundle.facts.get("inputs") in ("bytes", "text") else " "
    shown = f"{prompt}{between}{new}"
    typer.echo("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in shown))


def _print(frame: DataFrame) -> None:
    table = Table()
    for name in frame.columns[:MOST_COLUMNS]:
        number = frame[name].dtype.kind == "f"
        table.add_column(str(name), justify="right" if number else "left")
    shown = frame.iloc[:MOST_ROWS, :MOST_COLUMNS]
    columns_shown = [_cells(shown.iloc[:, place]) for place in range(shown.shape[1])]
    for row in zip(*columns_shown):
        table.add_row(*row)
    console.print(table)
    rows, columns = len(frame) - MOST_ROWS, len(frame.columns) - MOST_COLUMNS
    if rows > 0 or columns > 0:
        more = [f"{count} more {what}" for count, what in ((rows, "rows"), (columns, "columns")) if count > 0]
        _say(f"{' and '.join(more)}: --out FILE.csv writes all")


def _cells(column: Series) -> list[str]:
    """A column's values; numbers with five digits, or more where they are large or differ in later ones alone."""
    if column.dtype.kind != "f":
        return [str(cell) for cell in column]
    largest, spread, digits = column.abs().max(), column.max() - column.min(), 5
    if 0 < spread < math.inf:
        digits = max(5, math.floor(math.log10(largest)) - math.floor(math.log10(spread)) + 3)
    if 1 <= largest < 1e15:
        digits = max(digits, math.floor(math.log10(largest)) + 1)
    return [f"{cell:.{min(digits, 17)}g}" for cell in column]


def _say(text: str) -> None:
    console.print(text, soft_wrap=True)
