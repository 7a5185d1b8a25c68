"""Double quotes in files that are separated by tabs: parts of values, unless they enclose some."""

from __future__ import annotations

import csv


def with_literal_quotes(text: str, remarks: list[str]) -> str:
    """Return the text of a table with its double quotes as parts of values, where they cannot enclose any.

    That is where tabs separate every line into as many fields as the first, and quotes are not well-formed, or would
    join lines, as in a sentence that begins with a quotation. Other texts stay as they are.
    """
    if '"' not in text:
        return text
    lines = [line for line in text.splitlines() if line.strip()]
    tabs = lines[0].count("\t")
    if not tabs or any(line.count("\t") != tabs for line in lines):
        return text
    try:
        rows = sum(1 for _ in csv.reader(lines, delimiter="\t", strict=True))
    except csv.Error:
        rows = 0
    if rows == len(lines):
        return text
    remarks.append("double quotes are parts of the values: as marks around values they do not match")
    return "\n".join("\t".join(map(_enclosed, line.split("\t"))) for line in lines) + "\n"


def _enclosed(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if '"' in field else field
