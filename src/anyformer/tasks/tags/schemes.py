"""The scheme of tags: spans in one of the usual ways, or names such as parts of speech."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from anyformer.metrics import are_spans, read_tag


def scheme_of(sentences: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return the scheme of tags, and remarks on it.

    ``"BIO"`` (also called IOB2): each span begins with B-. ``"IOB1"``: with I-, and with B- only right behind a span of
    the same type. ``"IO"``: without B-. ``"IOBES"``, ``"BILOU"``, ``"BMES"``: with marks of last and single words.
    ``""``: no spans.
    """
    names = {tag for tags in sentences for tag in tags}
    if not are_spans(sorted(names)):
        odd = sorted(name for name in names if not read_tag(name))
        almost = len(odd) <= 0.1 * len(names) and any(name[:2] == "B-" for name in names)
        shown = ", ".join(map(repr, odd[:3]))
        said = f"all are read as plain tags, not as spans, as beside tags such as B-X there are: {shown}"
        return "", [said] if almost else []
    letters = {name[0] for name in names}
    for scheme in ("BILOU", "BMES", "IOBES"):
        if letters & (set(scheme) - set("BIO")) and letters <= set(scheme) | {"O"}:
            return scheme, _broken(sentences)
    if "B" not in letters:
        return "IO", []
    opened, begun, adjacent = 0, 0, 0
    for tags in sentences:
        for before, tag in zip(["O", *tags], tags):
            (role, kind), (role_before, kind_before) = (
                read_tag(tag) or ("O", ""),
                read_tag(before) or ("O", ""),
            )
            inside = role_before != "O" and kind == kind_before
            opened += role == "I" and not inside
            begun += role == "B" and not inside
            adjacent += role == "B" and inside
    if opened and not begun:
        return "IOB1", []
    if opened:
        return "BIO", [
            f"I- tags that follow no tag of their span, where one begins as in conlleval: {opened}"
        ]
    return "BIO", []


def _broken(sentences: Sequence[Sequence[str]]) -> list[str]:
    """Return a remark on tags that no span in these schemes has."""
    count = 0
    for tags in sentences:
        told = [read_tag(tag) or ("O", "") for tag in ["O", *tags, "O"]]
        for (before, kind), (role, other) in pairwise(told):
            open_ = before in "BI"
            count += open_ != (role in "IE") or (open_ and kind != other)
    return [f"places where tags form no whole span, counted as in conlleval: {count}"] if count else []
