"""Comparisons that ``anyformer bench real`` makes of a folder of data: those its ``cases.yaml`` lists, and known files.

A ``cases.yaml`` is a list of mappings with the fields of :class:`RealCase`::

    - {name: beds, data: beds.csv, target: occupied, options: {horizon: 14}}
    - {data: leaves.npz, budget: 3m}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

CASES = "cases.yaml"
_ETT: dict[str, Any] = {"split": "2017-06-26,2017-10-24,2018-02-21", "reach_back": True}
"""12, 4 and 4 months of hours, the windows before a forecast reaching over the borders (Zhou et al. 2021)."""
_LOADS = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
HORIZONS = (96, 336)


class RealCase(BaseModel):
    """One comparison on data of a folder.

    Attributes:
        data: the file or folder, relative to the folder.
        name: its row in the table; the data by default.
        target, metric, options, models, parameters, equal: as for ``anyformer compare``.
        budget: in place of the benchmark's.
    """

    model_config = ConfigDict(extra="forbid")

    data: str
    name: str = ""
    target: str | list[str] | None = None
    metric: str | None = None
    options: dict[str, Any] = {}
    models: str | None = None
    parameters: int | None = None
    equal: str = "budget"
    budget: str | None = None

    @property
    def title(self) -> str:
        """Its row in the table."""
        return self.name or self.data


def _transformers(file: str) -> list[RealCase]:
    """Return the usual cases of a transformer station's loads: its temperature alone, and all columns."""
    return [
        RealCase(
            data=file,
            name=f"{Path(file).stem}, {what}, horizon {horizon}",
            target=target,
            options={**_ETT, "horizon": horizon, **more},
        )
        for what, target, more in (("OT", "OT", {"drop": _LOADS[:-1]}), ("all columns", _LOADS, {}))
        for horizon in HORIZONS
    ]


KNOWN: dict[str, list[RealCase]] = {
    "ETTh1.csv": _transformers("ETTh1.csv"),
    "ETTh2.csv": _transformers("ETTh2.csv"),
    "tinyshakespeare.txt": [RealCase(data="tinyshakespeare.txt", name="Shakespeare, next byte")],
}
"""Cases of public files that are found under these names."""


def cases_in(folder: Path) -> tuple[list[RealCase], list[str]]:
    """Return the cases of a folder, and the files in it that none is of.

    Raises:
        ValueError: it is no folder, its ``cases.yaml`` is wrong, or it has no case.
    """
    if not folder.is_dir():
        raise ValueError(f"bench real takes a folder of data, got {str(folder)!r}")
    listed = _listed(folder / CASES)
    named = {Path(case.data).parts[0] for case in listed}
    files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    known = [case for name in files if name not in named for case in KNOWN.get(name, [])]
    left_out = [name for name in files if name not in named and name not in KNOWN and name != CASES]
    cases = listed + known
    if not cases:
        raise ValueError(
            f"{str(folder)!r} has neither a {CASES} nor a file known by name ({', '.join(KNOWN)}): a {CASES} lists "
            "comparisons, such as - {data: sales.csv, target: sold}"
        )
    titles = [case.title for case in cases]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise ValueError(f"{folder / CASES}: {twice[0]!r} is the name of two cases")
    return cases, left_out


def _listed(path: Path) -> list[RealCase]:
    """Return the cases that a file lists; none if there is no file."""
    if not path.exists():
        return []
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(held, list):
        raise ValueError(f"{path} must be a list of cases, such as - {{data: sales.csv, target: sold}}")
    found = []
    for number, one in enumerate(held, 1):
        try:
            case = RealCase.model_validate(one)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise ValueError(f"{path}: case {number}: {where}: {first['msg']}") from None
        parts = Path(case.data).parts
        if not parts or Path(case.data).is_absolute() or ".." in parts:
            raise ValueError(
                f"{path}: case {number}: data must be a file or folder in that folder, got {case.data!r}"
            )
        if not (path.parent / case.data).exists():
            raise ValueError(f"{path}: case {number}: there is no {case.data!r} in that folder")
        found.append(case)
    return found
