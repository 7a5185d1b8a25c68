"""The command line: thin, over the Python API."""

from anyformer.cli.main import app

__all__ = ["app"]
