"""The command line: thin, over the Python API."""

from anyformer.cli import (  # noqa: F401  (each adds its commands to the app)
    benching,
    checks,
    comparing,
    papers,
    parts,
    use,
)
from anyformer.cli.main import app

__all__ = ["app"]
