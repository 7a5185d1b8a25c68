"""The command line: thin, over the Python API."""

from anyformer.cli import checks, comparing, papers, parts, use  # noqa: F401  (each adds its commands to the app)
from anyformer.cli.main import app

__all__ = ["app"]
