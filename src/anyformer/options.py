"""Options of parts: declared once in a typed class, converted and checked by their types."""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from typing_extensions import Self, dataclass_transform

from anyformer.registry import nearest

TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}


@dataclass_transform(kw_only_default=True, frozen_default=True)
class PartOptions:
    """The options of a part. Every subclass is a frozen, keyword-only dataclass.

    A subclass inherits the options of its parent. Its class statement can leave some out::

        class Options(Attention.Options, only=("num_heads", "positions", "causal")):
            bits: int = 8

    Args:
        without: the parent's options that this part does not have. They keep the parent's default, or the value or
            property that the subclass sets instead.
        only: the parent's options that it has.
    """

    kind: ClassVar[str] = ""
    owner: ClassVar[str] = ""
    """The name of the part that has these options; with ``kind``, its name in messages."""

    def __init_subclass__(
        cls, *, without: Collection[str] = (), only: Collection[str] | None = None, **arguments: Any
    ) -> None:
        super().__init_subclass__(**arguments)
        fields: set[str] = {f.name for f in _fields(cls)} if dataclasses.is_dataclass(cls) else set()
        inherited = set(cls.names()) if fields else set()
        if unknown := {*without, *(only or ())} - inherited:
            raise TypeError(
                f"{cls.__qualname__} leaves out or keeps {sorted(unknown)}, which its parent does not have"
            )
        left_out = inherited - set(only) if only is not None else set(without)
        for name in inspect.get_annotations(cls):
            if name not in fields and any(hasattr(base, name) for base in cls.__bases__):
                raise TypeError(f"{cls.__qualname__}: an option cannot be called {name!r}")
        properties = {}
        for name in sorted(left_out):
            value = getattr(cls, name)
            if isinstance(value, property):
                properties[name], value = value, dataclasses.MISSING
            cls.__annotations__ = {**inspect.get_annotations(cls), name: Any}
            setattr(cls, name, dataclasses.field(init=False, default=value))
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        for name, value in properties.items():
            setattr(cls, name, value)

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the options."""
        return [field.name for field in _fields(cls) if field.init]

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Return the given options, defaults for the rest; values are converted as by :func:`read_options`.

        Raises:
            ValueError: for an unknown or a missing option, or a value of another type.
        """
        what = f"{cls.kind} {cls.owner!r}" if cls.kind else cls.owner
        known = cls.names()
        for name in given:
            if name not in known:
                raise ValueError(f"{what} has no option {name!r}{nearest(name, known)}")
        for field in _fields(cls):
            if field.init and field.name not in given and field.default is dataclasses.MISSING:
                raise ValueError(f"{what} needs the option {field.name!r}")
        return cls(**read_options(cls, given, what))


class Part:
    """A class whose constructor takes the options of its nested class ``Options``.

    ``inspect.signature`` of the class shows them.
    """

    Options: type[PartOptions] = PartOptions
    options: PartOptions

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "Options" not in vars(cls):
            names = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.Options"}
            cls.Options = type("Options", (cls.Options,), names)
        cls.name_part("", cls.__name__)

    @classmethod
    def name_part(cls, kind: str, name: str) -> None:
        """Set the part's kind and name in messages."""
        cls.Options.kind, cls.Options.owner = kind, name


class _Signature:
    """The signature of a part's class: the positional arguments of its constructor, and its options."""

    def __get__(self, instance: object, owner: type[Part]) -> inspect.Signature:
        if instance is not None:  # an instance has the signature of its __call__
            raise AttributeError("__signature__")
        places = [
            p
            for p in list(inspect.signature(owner.__init__).parameters.values())[1:]
            if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        options = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
                annotation=field.type,
            )
            for field in _fields(owner.Options)
            if field.init
        ]
        return inspect.Signature([*places, *options])


Part.__signature__ = _Signature()  # type: ignore[attr-defined]


def read_options(owner: Callable[..., Any], options: Mapping[str, Any], what: str = "") -> dict[str, Any]:
    """Convert options by the annotations of a function, or of a class of options.

    Where the type is bool, ``"no"`` becomes False; where it is int, a whole float an integer; where it is str, None
    becomes ``"none"``. Infinite numbers and NaN are refused. Values other than bool, int, float, str and None are left
    as they are.

    Args:
        owner: its annotations are the types; an option without one is left as it is.
        options: by name.
        what: owner's name in messages.

    Raises:
        ValueError: naming the option, what was expected and what came.
    """
    members = _members(owner)
    return {
        name: _read(name, value, members[name], what) if name in members else value
        for name, value in options.items()
    }


def _fields(options: type[PartOptions]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(options)  # type: ignore[arg-type]  # every subclass is a dataclass


@cache
def _members(owner: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """Return the types that each annotation allows, by name; annotations that cannot be resolved are left out."""
    try:
        hints = get_type_hints(owner)
    except Exception:  # annotations of users' code may not resolve
        return {}
    return {name: _flat(hint) for name, hint in hints.items() if hint is not Any and name != "return"}


def _flat(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(member for part in get_args(hint) for member in _flat(part))
    if get_origin(hint) is Literal:
        return tuple(dict.fromkeys(type(value) for value in get_args(hint)))
    return (hint,)


def _read(name: str, value: Any, members: tuple[Any, ...], what: str) -> Any:
    if not isinstance(value, bool | int | float | str | None):
        return value
    if bool in members and isinstance(value, str) and value.lower() in (*TRUE, *FALSE):
        return value.lower() in TRUE
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{what}{': ' if what else ''}{name} must be finite, got {value!r}")
    if type(value) in members:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and float in members:
        return float(value)
    if isinstance(value, float) and value.is_integer() and int in members:
        return int(value)
    if value is None and str in members:
        return "none"
    expected = " or ".join(dict.fromkeys(_WORDS.get(m, getattr(m, "__name__", str(m))) for m in members))
    raise ValueError(f"{what}{': ' if what else ''}{name} must be {expected}, got {value!r}")
