"""Models of specs in any form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyformer.heads import Pool
from anyformer.models.load import load_spec
from anyformer.models.sequence import SequenceModel
from anyformer.models.spec import ModelSpec


def create_model(
    spec: ModelSpec | Mapping[str, Any] | str | Path,
    *,
    vocab_size: int | None = None,
    num_features: int | None = None,
    num_outputs: int | None = None,
    pool: Pool = None,
    stream: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
    window: dict[str, Any] | None = None,
    trust_code: bool = False,
    **changes: Any,
) -> SequenceModel:
    """Create a model from a name, a line, a dict, a YAML file or a spec (see :func:`load_spec`), with ``changes``.

    >>> create_model("mamba", vocab_size=256, dim=128, depth=4)
    >>> create_model("[mamba*3, attention(window=256)]*2 dim=256", vocab_size=256)

    Args:
        spec, changes, trust_code: arguments of :func:`load_spec`.
        vocab_size, num_features, num_outputs, pool, stream, source, window: arguments of :class:`SequenceModel`.

    Raises:
        ValueError: saying what in the spec is wrong, and what was expected.
    """
    fields = load_spec(spec, trust_code=trust_code, **changes).model_dump()
    return SequenceModel(fields, vocab_size, num_features, num_outputs, pool, stream, source, window)
