"""Tasks that are generated, one in each file, which is called by its id."""

from __future__ import annotations

from anyformer.tasks.generated._base import GeneratedTask

__all__ = ["GeneratedTask"]
