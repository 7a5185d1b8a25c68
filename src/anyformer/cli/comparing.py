"""``anyformer compare``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyformer.cli.main import METRIC_HELP, DataCommand, app, one_message, task_of
from anyformer.processes import start_server

TAKES = {
    "join": {"workers", "storage", "trust_code"},
    "more": {"data", "out", "storage", "trust_code", "log"},
    "resume": {"storage", "trust_code", "accept_changed_data", "log"},
}
"""Options that may stand beside each way to continue a comparison; all others are fixed by its plan."""


@app.command(cls=DataCommand)
@one_message
def compare(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            help="A task's name, or a file or folder of yours; by default generated recall and real bytes."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The column to predict, or several between commas.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help=METRIC_HELP)] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Candidates between commas: names, specs, FILE.yaml, FILE.py:CLASS, preset:FAMILY."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Of everything: 60s, 10m, 2h. Of each run: '500 steps', '1M tokens'.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report, the results and the winner.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the comparison in this folder.")] = None,
    more: Annotated[
        str | None,
        typer.Option(help="Continue the finished comparison in the folder DATA for this much longer: 10m."),
    ] = None,
    hold: Annotated[
        str, typer.Option(help="What candidates have equal: parameters or flops.")
    ] = "parameters",
    equal: Annotated[
        str,
        typer.Option(
            help="What training has equal: budget (each has the same time; who is too far behind is stopped) or steps."
        ),
    ] = "budget",
    parameters: Annotated[int | None, typer.Option(help="The size to match.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences in a training step.")] = None,
    seeds: Annotated[int, typer.Option(help="Training runs of each candidate, at least 3.")] = 3,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None,
    refit: Annotated[
        bool, typer.Option(help="Train the winner on all data, test included, before it is saved.")
    ] = True,
    max_latency: Annotated[
        str | None,
        typer.Option(help="Longest time of an answer for a winner: 5ms, 5ms/token, 20ms/sample."),
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option(help="Largest weights of a winner, 2MB, or its state, 64KiB/state.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Optuna storage URL, to spread over machines that share the folder; with a password, better in the "
            "environment variable ANYFORMER_STORAGE.",
        ),
    ] = None,
    join: Annotated[
        Path | None, typer.Option(help="Lend this machine to the comparison in this folder.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of the task: name=value.")] = None,
    log: Annotated[
        Path | None, typer.Option(help="Append the curves of the full runs to FILE.jsonl or FILE.csv.")
    ] = None,
    accept_changed_data: Annotated[
        bool,
        typer.Option(
            "--accept-changed-data", help="With --resume: start anew what depends on data that has changed."
        ),
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option("--trust-code", help="Run the Python files that a FILE.yaml or a resumed plan names."),
    ] = False,
) -> None:
    """Train candidates on equal terms, and say which one fits: leaderboard, report.html, results.json, winner.

    Examples:
      anyformer compare
      anyformer compare sales.csv --target amount --budget 10m
      anyformer compare recall --models "transformer, mamba, [mamba*3, attention]*1"
      anyformer compare recall --models "transformer, preset:linear"
      anyformer compare --more 10m DIR
    """
    start_server()
    from anyformer.compare import compare as run
    from anyformer.compare import help_out
    from anyformer.train.logs import log_file

    _refuse_beside_a_plan(context)
    if join is not None:
        help_out(join, workers=workers, storage=storage, trust_code=trust_code)
        return
    logger = None if log is None else log_file(log)
    if more is not None:
        folder = data if out is None else str(out)
        if folder is None or (out is not None and data is not None):
            raise ValueError("--more takes a budget and one folder: anyformer compare --more 10m DIR")
        run(out=folder, storage=storage, more=more, trust_code=trust_code, log=logger)
        return
    if resume is not None:
        run(
            out=resume,
            storage=storage,
            resume=True,
            accept_changed_data=accept_changed_data,
            trust_code=trust_code,
            log=logger,
        )
        return
    if accept_changed_data:
        raise ValueError("--accept-changed-data is for resuming a comparison: give --resume DIR too")
    column, options = task_of(data, target, metric, option)
    run(
        data,
        models,
        budget=budget,
        out=out,
        target=column,
        options=options,
        hold=hold,
        equal=equal,
        parameters=parameters,
        batch_size=batch_size,
        seeds=seeds,
        workers=workers,
        refit=refit,
        max_latency=max_latency,
        max_bytes=max_bytes,
        storage=storage,
        trust_code=trust_code,
        log=logger,
    )


def _refuse_beside_a_plan(context: typer.Context) -> None:
    """Raise ValueError for an option that would change nothing beside ``--join``, ``--more`` or ``--resume``."""
    sources = {p.name: context.get_parameter_source(str(p.name)) for p in context.command.params}
    given = [p for p in context.command.params if getattr(sources[p.name], "name", None) == "COMMANDLINE"]
    modes = [str(parameter.name) for parameter in given if parameter.name in TAKES]
    for mode in modes[:1]:
        others = [p for p in given if p.name != mode and p.name not in TAKES[mode]]
        names = [p.opts[0] if p.opts[0].startswith("-") else str(p.name) for p in others]
        if names:
            raise ValueError(
                f"--{mode} goes on with the plan in its folder: it takes no {' and no '.join(names)}"
            )
