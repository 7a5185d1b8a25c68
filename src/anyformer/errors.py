"""Errors that name what is wrong with the user's data."""

from __future__ import annotations


class DataError(ValueError):
    """The user's data cannot be used; the message says in one sentence what is wrong and where."""
