"""Lines of JSON objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anyformer.errors import DataError
from anyformer.tables.delimited import decode
from anyformer.tables.packed import content


def read_objects(path: Path, example: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the JSON object on each line that is not empty, with the number of the line.

    ``example`` shows one, for messages.
    """
    data = content(path)
    if not data.strip():
        raise DataError(f"{path} is empty")
    records: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(decode(path, data).split("\n"), 1):
        if not line.strip():
            continue
        record = read_json(line, f"{path}: line {number}")
        if not isinstance(record, dict):
            raise DataError(f"{path}: line {number} must be an object like {example}, got {line[:40]!r}")
        records.append((number, record))
    return records


def read_json(text: str, what: str) -> Any:
    """Return the JSON value of a text, called ``what`` in messages.

    Raises:
        DataError: it is none, or an object in it has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise DataError(f"{what} is not JSON: {error.msg} at character {error.pos + 1}") from None
    except DataError as error:
        raise DataError(f"{what} {error}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number has thousands of digits, or lists are nested too deep
        raise DataError(f"{what} is not JSON: {str(error).partition(';')[0]}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; ``DataError`` if a key occurs twice, of which JSON readers keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DataError(
            f"has {next(key for key in found if keys.count(key) > 1)!r} twice in one object; rename one"
        )
    return found
