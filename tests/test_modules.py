"""Every module has a test of its name in its room, or is listed here with the tests that hold it."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "anyformer"
ELSEWHERE = {
    "channels/*": ("tests/laws/test_laws.py",),
    "compare/report/figures/*": ("tests/compare/report/test_figures.py",),
    "compare/results/measurements.py": ("tests/compare/results/test_schema.py",),
    "compare/run/outcomes.py": ("tests/compare/plan/test_allocation.py",),
    "compare/run/scheduler.py": ("tests/compare/plan/test_allocation.py",),
    "compare/session.py": ("tests/compare/test_compare.py", "tests/compare/test_resumption.py"),
    "compare/verdict/assemble.py": ("tests/compare/test_compare.py", "tests/compare/plan/test_more.py"),
    "embed/*": ("tests/embed/test_embedder.py",),
    "errors.py": ("tests/tasks/test_readers.py",),
    "kernels/cuda/*": ("tests/kernels/test_cuda.py",),
    "laws/models/*": ("tests/laws/faults/models.py", "tests/laws/test_laws.py"),
    "laws/embedders/*": ("tests/laws/faults/embedders.py", "tests/laws/test_laws.py"),
    "laws/heads/*": ("tests/laws/faults/heads.py", "tests/laws/test_laws.py"),
    "laws/tasks/*": ("tests/laws/faults/tasks.py", "tests/laws/test_task_laws.py"),
    "laws/ops/*": ("tests/laws/faults/ops.py", "tests/laws/test_op_laws.py"),
    "laws/*": ("tests/laws/test_faults.py",),
    "layers/activations/*": ("tests/laws/test_laws.py",),
    "layers/norms/*": ("tests/laws/test_laws.py",),
    "layers/global_context.py": ("tests/laws/test_laws.py",),
    "metrics/*": ("tests/metrics/test_definitions.py", "tests/metrics/test_metrics.py"),
    "mixers/*": ("tests/laws/test_laws.py",),
    "models/names.py": ("tests/laws/test_laws.py", "tests/test_registry.py"),
    "models/zoo/*": ("tests/laws/test_laws.py", "tests/test_registry.py"),
    "models/create.py": ("tests/models/test_sequence.py", "tests/test_user_code.py"),
    "models/given.py": ("tests/models/test_source.py",),
    "models/inputs.py": ("tests/models/test_sequence.py", "tests/models/test_series.py"),
    "models/saved.py": ("tests/models/test_sequence.py", "tests/test_user_code.py"),
    "objectives/base.py": ("tests/objectives/test_objectives.py",),
    "ops/_*": ("tests/ops/test_paths.py", "tests/laws/test_op_laws.py"),
    "positions/*": ("tests/positions/test_positions.py", "tests/laws/test_laws.py"),
    "stack/*": ("tests/stack/test_residuals.py", "tests/laws/test_laws.py"),
    "dates/axisrules.py": ("tests/tables/test_timeaxis.py",),
    "tasks/categorycolumns.py": ("tests/tasks/test_categories.py",),
    "tasks/choices.py": ("tests/tasks/test_columns.py",),
    "dates/columns.py": ("tests/dates/test_dates.py",),
    "dates/reading.py": ("tests/dates/test_dates.py",),
    "dates/writing.py": ("tests/dates/test_style.py",),
    "tasks/covariates.py": ("tests/tasks/test_forecast_encoding.py",),
    "tasks/frames.py": ("tests/tasks/test_labelled.py", "tests/tasks/test_forecasting.py"),
    "tables/columns.py": ("tests/tables/test_table_columns.py",),
    "tables/objects.py": ("tests/tables/test_reading.py", "tests/tasks/graphs/test_jsonl.py"),
    "tables/written.py": ("tests/tables/test_reading.py", "tests/tables/test_delimited.py"),
    "tables/files.py": ("tests/tasks/test_readers.py",),
    "tasks/readers/*": ("tests/tasks/test_readers.py",),
    "tasks/graphs/tables.py": ("tests/tasks/graphs/test_node_tables.py",),
    "tasks/pair*.py": ("tests/tasks/test_pairs.py",),
    "train/fit_plan.py": ("tests/train/test_fit.py",),
    "wrappers/*": ("tests/laws/test_laws.py",),
}
"""Registered parts are held by all laws; the other modules help one that has a test of its name, or are run whole."""


def has_a_test(module: Path) -> bool:
    """True if a test of the module's name, or for a folder of an op of the folder's, is in the room's tests."""
    inside = module.relative_to(SOURCE)
    names = {module.stem, inside.parts[1]} if inside.parts[0] == "ops" else {module.stem}
    room = ROOT / "tests" / (inside.parts[0] if len(inside.parts) > 1 else "")
    return any(
        test.stem.removeprefix("test_") in {name.lstrip("_") for name in names}
        for test in room.rglob("test_*.py")
    )


def test_every_module_is_tested_by_name_or_listed() -> None:
    modules = [module for module in SOURCE.rglob("*.py") if not module.stem.startswith("__")]
    untested = [module.relative_to(SOURCE).as_posix() for module in modules if not has_a_test(module)]
    matches = [(name, pattern) for name in untested for pattern in ELSEWHERE if fnmatch(name, pattern)]
    assert not set(untested) - {name for name, _ in matches}
    assert set(ELSEWHERE) == {pattern for _, pattern in matches}, "a pattern that no module needs any more"


def test_the_tests_that_are_listed_are_there() -> None:
    assert not [test for tests in ELSEWHERE.values() for test in tests if not (ROOT / test).exists()]
