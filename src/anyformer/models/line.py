"""The one-line language of specs: parts and stacks of layers, read and written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from anyformer.embed import DEFAULT

MOST_LAYERS = 10_000
NONE = {"embed": DEFAULT}
"""The parts that None stands for, by field, where that is not ``none``."""


class PartSpec(BaseModel):
    """A part by name: a mixer, a channel mixer or a wrapper around stacks.

    Attributes:
        tag: parts of the same name and tag share one module, with a state at each occurrence.
        inner: the stacks that a wrapper wraps.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    tag: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    inner: list[list[PartSpec]] = Field(default_factory=list)

    def __str__(self) -> str:
        args = ["[" + ", ".join(map(str, stack)) + "]" for stack in self.inner]
        args += [f"{k}={show(v)}" for k, v in self.options.items()]
        return self.name + (f"@{self.tag}" if self.tag else "") + (f"({', '.join(args)})" if args else "")


def parse_stack(text: str) -> list[PartSpec]:
    """Parse layers from text: ``"[mamba*3, attention(window=256)]*2"``."""
    reader = LineReader(text)
    layers = reader.stack()
    reader.end()
    return layers


def part_fields(value: Any, field: str = "") -> dict[str, Any]:
    """Return the fields of a :class:`PartSpec` of a part, of its fields, or of its line, in a field of a spec."""
    if value is None:
        return {"name": NONE.get(field, "none")}
    if isinstance(value, str):
        parts = parse_stack(value)
        if len(parts) != 1:
            raise ValueError(f"expected one part, got {len(parts)}")
        value = parts[0]
    if not isinstance(value, PartSpec | Mapping):
        raise ValueError(f"expected a part, such as name(option=1), got {value!r}")
    return value.model_dump() if isinstance(value, PartSpec) else dict(value)


def encoder_fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of an encoder of these, of its line, or of its layers alone; None if there is none."""
    if isinstance(value, str):
        reader = LineReader(value)
        value = reader.fields() if reader.peek() == "(" else reader.stack()
        reader.end()
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping) and "name" not in value:
        return dict(value)
    return {"layers": value} if value else None


class LineReader:
    """A recursive-descent reader of the one-line language.

    stack := "[" group ("," group)* "]" ["*" count] | group;  group := (stack | part) ["*" count]
    part := name ["@" tag] [arguments];  arguments := "(" [argument ("," argument)*] ")"
    argument := key "=" value | stack;  fields := arguments with one stack at most, the layers
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [m.group() for m in re.finditer(r"\"[^\"]*\"|'[^']*'|[\w.:/+-]+|[^\s]", text)]
        self.at = 0

    def fail(self, message: str) -> None:
        raise ValueError(f"spec {short(self.text)!r}: {message}")

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token:
            self.fail(f"expected {token!r}, got {self.peek() or 'the end'!r}")
        self.at += 1

    def end(self) -> None:
        if self.peek():
            self.fail(f"unexpected {self.peek()!r}")

    def name(self, what: str) -> str:
        if not re.fullmatch(r"[A-Za-z_./][\w.:/-]*", self.peek()):
            self.fail(f"expected {what}, got {self.peek() or 'the end'!r}")
        return self.next()

    def stack(self) -> list[PartSpec]:
        return list(self.group())

    def group(self) -> Iterator[PartSpec]:
        if self.peek() == "[":
            self.next()
            found: list[PartSpec] = list(self.group())
            while self.peek() == ",":
                self.next()
                found.extend(self.group())
            self.expect("]")
        else:
            found = [self.part()]
        count = self.count()
        if count * len(found) > MOST_LAYERS:
            self.fail(f"a model has at most {MOST_LAYERS:,} layers, got {count:,} times {len(found):,}")
        return iter(found * count)

    def count(self) -> int:
        if self.peek() != "*":
            return 1
        self.next()
        token = self.next()
        if not token.isdecimal() or int(token) < 1:
            self.fail(f"expected a count of at least 1 behind '*', got {token or 'the end'!r}")
        return int(token)

    def part(self) -> PartSpec:
        part = PartSpec(name=self.name("the name of a part"))
        if self.peek() == "@":
            self.next()
            part.tag = self.name("a tag")
        if self.peek() == "(":
            part.inner, part.options = self.arguments()
        return part

    def arguments(self) -> tuple[list[list[PartSpec]], dict[str, Any]]:
        """Return the stacks and the options in brackets."""
        stacks, options = list[list[PartSpec]](), dict[str, Any]()
        self.expect("(")
        while self.peek() != ")":
            if self.peek(1) == "=":
                key = self.name("an option")
                if key in options:
                    self.fail(f"the option {key!r} stands twice")
                self.next()
                options[key] = self.value()
            else:
                stacks.append(self.stack())
            if self.peek() != ")":
                self.expect(",")
        self.next()
        return stacks, options

    def fields(self) -> dict[str, Any]:
        """Return layers and fields in brackets: ``([attention*2], positions=learned)``."""
        stacks, fields = self.arguments()
        if len(stacks) > 1 or (stacks and "layers" in fields):
            self.fail("expected one stack of layers in brackets")
        return {"layers": stacks[0], **fields} if stacks else fields

    def value(self) -> Any:
        if self.peek() == "[" or self.peek(1) == "(":
            parts = self.stack()
            return parts[0].model_dump() if len(parts) == 1 else [p.model_dump() for p in parts]
        token = self.next()
        if not token or token in "()[],=*@":
            self.fail(f"expected a value, got {token or 'the end'}")
        if token[0] in "\"'":
            return token[1:-1]
        return _literal(token)


def _literal(token: str) -> Any:
    for kind in (int, float):
        try:
            return kind(token)
        except ValueError:
            pass
    return {"true": True, "false": False, "none": None, "null": None}.get(token.lower(), token)


def show_stack(layers: list[PartSpec]) -> str:
    """Return layers in one line, equal neighbours with a count."""
    runs: list[list[Any]] = []
    for part in map(str, layers):
        if runs and runs[-1][0] == part:
            runs[-1][1] += 1
        else:
            runs.append([part, 1])
    return "[" + ", ".join(part if count == 1 else f"{part}*{count}" for part, count in runs) + "]"


def show(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, Mapping) and "name" in value:
        return str(PartSpec.model_validate(value))
    return str(value) if not isinstance(value, bool) else str(value).lower()


def short(source: Any) -> str:
    """Return the beginning of a line, for messages."""
    text = str(source)
    return text if len(text) <= 80 else text[:77] + "..."
