"""Spans that tags such as B-PER and I-PER stand for, by the rules of CoNLL-2000's ``conlleval``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_ROLES = {"O": "O", "B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
"""Roles in a span by the letters of BIO, IOB1, IOBES, BILOU and BMES: begin, inside, end, single; outside."""
_TAG = re.compile(r"([BIMELSU])-(.+)")
_CODES = {role: code for code, role in enumerate("OBIES")}
_O, _B, _I, _E, _S = range(5)


class Span(NamedTuple):
    """A span of words: the first, the last, and its type."""

    first: int
    last: int
    type: str


def read_tag(name: str) -> tuple[str, str] | None:
    """Return role and type of a tag of spans, ``("B", "PER")`` or ``("O", "")``; None for other tags."""
    if name == "O":
        return "O", ""
    found = _TAG.fullmatch(name)
    return (_ROLES[found[1]], found[2]) if found else None


def are_spans(names: Sequence[str]) -> bool:
    """True if all tags are those of spans, and not all are O."""
    return all(read_tag(name) for name in names) and bool(set(names) - {"O"})


def spans_of(names: Sequence[str]) -> list[Span]:
    """Return the spans of one sequence of tags, tag by tag; the definition of :func:`edges`."""
    found: list[Span] = []
    role, kind, first = "O", "", 0
    for place, name in enumerate([*names, "O"]):
        told = read_tag(name)
        assert told is not None, f"{name!r} is no tag of spans"
        before, kind_before, (role, kind) = role, kind, told
        other = kind != kind_before
        ends = before in "ES" or (before in "BI" and role in "BSO") or (before != "O" and other)
        if ends and before != "O":
            found.append(Span(first, place - 1, kind_before))
        if role in "BS" or (before in "ESO" and role in "IE") or (role != "O" and other):
            first = place
    return found


class SpanTags:
    """Tags as roles and types of spans.

    Args:
        names: of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        told = [read_tag(name) or ("O", "") for name in names]
        types = {kind: code for code, kind in enumerate(dict.fromkeys(kind for _, kind in told))}
        self.roles = torch.tensor([_CODES[role] for role, _ in told])
        self.types = torch.tensor([types[kind] for _, kind in told])

    def edges(self, classes: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return where spans end, and for each place the class and place of the last start before or at it.

        Args:
            classes: ``(B, N)`` int64.
            real: ``(B, N)`` bool; elements that are not real are outside of all spans.

        Returns:
            ``(B, N)`` bool, True at the last element of a span, and ``(B, N)`` int64, which is equal for two sequences
            where spans have equal starts and types.
        """
        device = classes.device
        roles = torch.where(real, self.roles.to(device)[classes], _O)
        types = torch.where(real, self.types.to(device)[classes], -1)
        outside = torch.zeros_like(roles[:, :1])
        before, after = torch.cat([outside, roles[:, :-1]], 1), torch.cat([roles[:, 1:], outside], 1)
        other = types != torch.cat([outside - 1, types[:, :-1]], 1)
        others = types != torch.cat([types[:, 1:], outside - 1], 1)
        starts = (roles == _B) | (roles == _S) | ((roles != _O) & other)
        starts |= _any(before, _E, _S, _O) & _any(roles, _I, _E)
        ends = (
            _any(roles, _E, _S) | (_any(roles, _B, _I) & _any(after, _B, _S, _O)) | ((roles != _O) & others)
        )
        places = torch.arange(classes.shape[1], device=device)
        first = torch.where(starts, places, -1).cummax(1).values
        return ends, first * (int(self.types.max()) + 2) + types


def _any(codes: Tensor, *wanted: int) -> Tensor:
    found = codes == wanted[0]
    for code in wanted[1:]:
        found = found | (codes == code)
    return found
