"""Passwords in storage URLs: they are used, and written nowhere."""

from __future__ import annotations

import os
import re

STORAGE_VARIABLE = "ANYFORMER_STORAGE"
"""The environment variable that holds a storage's URL, so that it need not stand on a command line."""
MASK = "***"
_LOGIN = re.compile(r"(\w+://[^\s:/@]*):[^\s]*@")
_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:pass|secret|token|key|credential|auth)[\w.-]*=)[^&\s#]+")


def masked(text: str) -> str:
    """The text with the passwords of all URLs in it, and secrets among their parameters, as ``***``."""
    return _QUERY.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1:{MASK}@", text))


def full_url(planned: str | None, given: str | None) -> str | None:
    """The URL to connect to: the plan's, with the secrets of the one given or in the environment.

    Raises:
        ValueError: where the secrets are missing, or another storage is given.
    """
    if planned is not None:
        given = given or os.environ.get(STORAGE_VARIABLE) or None
    if given is not None and masked(given) != planned:
        raise ValueError(
            f"storage must be the one that the comparison was begun with ({planned or 'none'}), got {masked(given)!r}"
        )
    if given is None and planned is not None and MASK in planned:
        raise ValueError(
            f"storage: the password of {planned} is not kept; give the URL with it in the environment variable "
            f"{STORAGE_VARIABLE} or with --storage"
        )
    return given or planned
