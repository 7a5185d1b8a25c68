"""``train.json``: what a training is of, from which it is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from anyformer.files import write_atomically
from anyformer.tasks.fingerprint import Fingerprint
from anyformer.train.bundle import FACTS, FILES
from anyformer.train.trainer import TrainConfig
from anyformer.user_code import named_files

PLAN = "train.json"
VERSION = 1
"""Version of the format of ``train.json``."""


class FitPlan(BaseModel):
    """The model, the data and the configuration of a training: ``train.json``, from which it is resumed."""

    version: int = VERSION
    source: str
    target: str | list[str] | None
    options: dict[str, Any]
    spec: dict[str, Any]
    config: TrainConfig
    patience: int | None = None
    data: Fingerprint

    @property
    def code(self) -> list[str]:
        """The Python files that it names, as ``file.py:Name``."""
        return named_files([self.source, self.options, self.spec])

    def save(self, folder: Path) -> None:
        write_atomically(folder / PLAN, self.model_dump_json(indent=1))

    @classmethod
    def load(cls, folder: Path) -> FitPlan:
        """Read the plan in a folder.

        Raises:
            ValueError: there is none, or it is damaged or of another version.
        """
        path = folder / PLAN
        if not path.is_file():
            raise ValueError(f"out: there is no training in {str(folder)!r} to resume")
        held = read_mapping(path)
        version = held.get("version", 0)
        if version != VERSION:
            raise ValueError(
                f"{str(path)!r} was written by another version of anyformer (format {version}, this one reads "
                f"{VERSION}): continue with that version, or train anew in another folder"
            )
        try:
            return cls.model_validate(held)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise ValueError(damaged(path, where)) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping in a JSON file of a training; ValueError if it holds none."""
    try:
        held = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise ValueError(damaged(path, "it is no JSON"))
    return held


def damaged(path: Path, where: str) -> str:
    """Return a sentence about a damaged file of a training, with what mends it."""
    if path.name == FACTS:
        remedy = (
            f"delete it with {' and '.join(FILES)}, and the training continues without the best model so far"
        )
    else:
        remedy = "the training cannot continue without it; train anew in another folder"
    return f"{str(path)!r} is damaged ({where}): {remedy}"
