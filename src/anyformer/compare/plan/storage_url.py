"""Secrets in storage URLs: they are used, but never written to disk."""

from __future__ import annotations

import os
import re

STORAGE_VARIABLE = "ANYFORMER_STORAGE"
"""Environment variable for a storage's URL, so that secrets need not be on a command line."""
MASK = "***"
_LOGIN = re.compile(r"(\w+://[^\s:/@]*):[^\s]*@")
_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:pass|secret|token|key|credential|auth)[\w.-]*=)[^&\s#]+")


def masked(text: str) -> str:
    """Replace passwords and secret parameters of all URLs in a text by ``***``."""
    return _QUERY.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1:{MASK}@", text))


def full_url(planned: str | None, given: str | None) -> str | None:
    """Return the URL to connect to: the plan's, with the secrets of the given one or the environment's.

    Raises:
        ValueError: if the secrets are missing, or another storage is given.
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
