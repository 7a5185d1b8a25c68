"""Options of parts have types: read as they are meant, or refused by name."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from anyformer import Mixer, MixerInfo, create_mixer
from anyformer.channels import channels
from anyformer.mixers import mixers
from anyformer.models import create_model, load_spec, models
from anyformer.options import Part, _members, read_options
from anyformer.positions import create_position, positions
from anyformer.wrappers import wrappers

REQUIRED: dict[str, dict[str, Any]] = {"order": {"grid": 2}}
PARTS = [(registry, entry) for registry in (mixers, channels, wrappers, positions) for entry in registry]


def takes(
    flag: bool = False, count: int = 1, size: int | None = None, rate: float = 0.1, name: str = "x",
    either: bool | str = True, way: Literal["up", "down"] = "up", grid: int | str | list[int] = 8,
    anything: Any = None, **others: Any,
) -> None:  # fmt: skip
    """Has an option of each type."""


@pytest.mark.parametrize(
    "options, read",
    [
        ({"flag": "no"}, {"flag": False}),
        ({"flag": "off"}, {"flag": False}),
        ({"flag": "Yes"}, {"flag": True}),
        ({"flag": True, "size": None}, {"flag": True, "size": None}),
        ({"count": 4.0, "rate": 1}, {"count": 4, "rate": 1.0}),
        ({"either": "no"}, {"either": False}),
        ({"either": "l2"}, {"either": "l2"}),
        ({"name": None}, {"name": "none"}),
        ({"grid": [2, 3]}, {"grid": [2, 3]}),
        ({"anything": "no", "more": "no"}, {"anything": "no", "more": "no"}),
    ],
)
def test_read(options: dict[str, Any], read: dict[str, Any]) -> None:
    found = read_options(takes, options)
    assert found == read and list(map(type, found.values())) == list(map(type, read.values()))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"flag": "fasle"}, "flag must be true or false, got 'fasle'"),
        ({"flag": 2}, "flag must be true or false, got 2"),
        ({"flag": None}, "flag must be true or false, got None"),
        ({"count": "four"}, "count must be a whole number, got 'four'"),
        ({"count": True}, "count must be a whole number, got True"),
        ({"count": 4.5}, "count must be a whole number, got 4.5"),
        ({"count": None}, "count must be a whole number, got None"),
        ({"size": "no"}, "size must be a whole number or none, got 'no'"),
        ({"rate": "fast"}, "rate must be a number, got 'fast'"),
        ({"rate": False}, "rate must be a number, got False"),
        ({"name": 3}, "name must be a text, got 3"),
        ({"way": 3}, "way must be a text, got 3"),
        ({"grid": True}, "grid must be a whole number or a text or list, got True"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_options(takes, options)


@pytest.mark.parametrize("registry, entry", PARTS, ids=lambda value: getattr(value, "id", ""))
def test_every_option_of_every_part_has_a_type(registry: Any, entry: Any) -> None:
    options = entry.target.Options
    members = _members(options)
    assert [name for name in options.names() if name not in members] == []
    for name in options.names():
        if members[name] == (bool,):
            with pytest.raises(
                ValueError, match=f"{registry.kind} '{entry.id}': {name} must be true or false, got 'fasle'"
            ):
                options.read({**REQUIRED.get(entry.id, {}), name: "fasle"})


@pytest.mark.parametrize(
    "line, message",
    [
        ("[attention(qk_norm=fasle)]", r"'attention': qk_norm must be true or false, got 'fasle'"),
        ("[attention(num_heads=four)]", r"num_heads must be a whole number, got 'four'"),
        ("[attention(channel=mlp(bias=maybe))]", r"'mlp': bias must be true or false"),
        (
            "[attention(positions=rope(fraction=half))]",
            r"position 'rope': fraction must be a number, got 'half'",
        ),
        ("transformer depth=two", r"model 'transformer': depth must be a whole number, got 'two'"),
        ("[mixture_of_depths([attention], share=much)]", r"must be a number, got 'much'|has no option"),
    ],
)
def test_a_wrong_value_in_a_line_is_refused_by_name(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(line, vocab_size=4, dim=16)


def test_words_of_the_line_are_read_by_the_type_of_the_option() -> None:
    plain = create_model("[attention(qk_norm=no, bias=off)] dim=16", vocab_size=4)
    assert plain.num_parameters() == create_model("[attention] dim=16", vocab_size=4).num_parameters()
    assert create_model("[attention(bias=on)] dim=16", vocab_size=4).num_parameters() > plain.num_parameters()
    assert create_model("[attention(positions=none)] dim=16", vocab_size=4).spec.layers[0].name == "attention"
    with pytest.raises(ValueError, match="qk_norm must be true or false"):
        mixers.get("attention").target(16, qk_norm="fasle")


def options_read(cls: type[Part], build: Callable[[], Any]) -> set[str]:
    """The options that a part looks at while it is built."""
    seen: set[str] = set()

    class Noted(cls.Options):
        def __getattribute__(self, name: str) -> Any:
            seen.add(name)
            return super().__getattribute__(name)

    Noted.kind, Noted.owner = cls.Options.kind, cls.Options.owner
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "Options", Noted)
        part = build()
    if isinstance(part, Mixer) and part.info.reach == (0, 0):
        seen.add("causal")  # makes no difference where no other token is reached, see Mixer.Options
    return seen & set(cls.Options.names())


def building(registry: Any, entry: Any, options: Mapping[str, Any]) -> Callable[[], Any]:
    if registry is positions:
        return lambda: entry.target(16, 4, 4, **options)
    if registry is not wrappers:
        return lambda: entry.target(16, **options)
    inner = {"remamba": ("mamba", {}), "vip_compression": ("attention", {"causal": False})}
    name, given = inner.get(entry.id, ("retention", {}))
    given_to = [p for p in inspect.signature(entry.target).parameters.values() if p.annotation == "Mixer"]
    count = sum(2 if p.kind is p.VAR_POSITIONAL else 1 for p in given_to)
    options = {**REQUIRED.get(entry.id, {}), **options}
    widths = [entry.target.Options.read(options).inside(i, count, 16, None)[0] for i in range(count)]
    mixers_in_it = [create_mixer(name, width, **given) for width in widths]
    return lambda: entry.target(16, *mixers_in_it, **options)


@pytest.mark.parametrize("registry, entry", PARTS, ids=lambda value: getattr(value, "id", ""))
def test_every_option_of_every_part_is_read(registry: Any, entry: Any) -> None:
    examples = entry.examples
    seen = set().union(*(options_read(entry.target, building(registry, entry, e)) for e in examples))
    assert set(entry.target.Options.names()) - seen == set()


def test_an_option_that_is_not_read_is_found() -> None:
    assert options_read(Mine, lambda: Mine(4)) == {"causal", "gate"}  # never its rate


class Mine(Mixer):
    """A mixer of the user's."""

    class Options(Mixer.Options):
        gate: bool = True
        rate: float = 0.5

        def info(self) -> MixerInfo:
            self.needs_causal(True, "it looks back")
            return MixerInfo(reach=(0, 0))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.gate = self.options.gate


class Tamer(Mine):
    """Has one option of its parent's, and one that follows from another."""

    class Options(Mine.Options, only=("causal",)):
        slow: bool = False
        rate = 0.1

        @property
        def gate(self) -> bool:
            return not self.slow

    options: Options


def test_a_mixer_of_the_users_is_held_to_its_annotations() -> None:
    assert Mine(4, gate="no").gate is False
    for call, message in (
        (lambda: Mine(4, gate="perhaps"), "Mine: gate must be true or false, got 'perhaps'"),
        (lambda: Mine(4, gte=True), "Mine has no option 'gte'; did you mean 'gate'"),
        (lambda: Mine(4, causal=False), "causal=False is not possible for Mine: it looks back"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


def test_a_subclass_leaves_options_out() -> None:
    assert Tamer.Options.names() == ["causal", "slow"]
    assert Tamer(4).gate is True and Tamer(4, slow=True).gate is False
    assert Tamer(4).options.rate == 0.1 and Tamer.Options() == Tamer.Options(slow=False) != Tamer.Options(
        slow=True
    )
    with pytest.raises(ValueError, match="Tamer has no option 'gate'"):
        Tamer(4, gate=True)
    with pytest.raises(TypeError, match=r"leaves out or keeps \['gaet'\], which its parent does not have"):

        class _Wrong(Mine.Options, without=("gaet",)):
            pass


def test_options_are_frozen_shown_and_pickled() -> None:
    mixer = Mine(4, rate=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        mixer.options.rate = 3.0  # type: ignore[misc]
    assert list(inspect.signature(Mine).parameters) == ["dim", "causal", "gate", "rate"]
    assert inspect.signature(Mine).parameters["rate"].default == 0.5
    assert "options" not in inspect.signature(Tamer).parameters
    assert "dim" not in inspect.signature(mixer).parameters  # a mixer is called with something else
    assert pickle.loads(pickle.dumps(mixer)).options == mixer.options


def test_what_is_written_wrongly_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"Old has describe\(\).*class Options\(Mixer.Options\)"):

        class Old(Mixer):
            @classmethod
            def describe(cls, *, gate: bool = True) -> MixerInfo:
                return MixerInfo(reach=(0, 0))

    with pytest.raises(TypeError, match="an option cannot be called 'info'"):

        class _Wrong(Mixer.Options):
            info: int = 3  # type: ignore[assignment]

    with pytest.raises(ValueError, match="wrapper 'order' needs the option 'grid'"):
        wrappers.get("order").target(16, create_mixer("attention", 16))


def test_named_models_are_typed() -> None:
    for entry in models:
        members = _members(entry.target)
        for name in set(members) & {"depth"}:
            with pytest.raises(ValueError, match="depth must be a whole number"):
                load_spec(entry.id, **{name: "deep"})


def test_positions_none() -> None:
    assert create_position(None, dim=16, num_heads=2, head_dim=8) is not None


NUMBERS = [
    (registry, entry, field.name)
    for registry, entry in PARTS
    for field in dataclasses.fields(entry.target.Options)
    if field.init and float in _members(entry.target.Options).get(field.name, ())
]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(value: float) -> None:
    assert len(NUMBERS) > 20
    for registry, entry, name in NUMBERS:
        with pytest.raises(ValueError, match=f"{registry.kind} '{entry.id}'.*: {name} must be finite, got"):
            entry.target.Options.read({**REQUIRED.get(entry.id, {}), name: value})


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("[retention(value_factor=-1)]*1", "value_factor"),
        ("[mamba2(norm_eps=0)]*1", "norm_eps"),
        ("[attention(positions=fire(hidden=-1))]*1", "hidden"),
        ("[attention(head_dim=-1)]*1", "head_dim"),
    ],
)
def test_sizes_are_at_least_1(line: str, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be (at least 1|positive), got"):
        create_model(f"{line} dim=16", vocab_size=8)


@pytest.mark.parametrize("size", [0, -1, 16.0, "16", True])
@pytest.mark.parametrize("name", ["vocab_size", "num_features", "num_outputs"])
def test_sizes_of_a_model_are_whole_numbers(name: str, size: Any) -> None:
    sizes = {"vocab_size": 16, name: size} if name != "num_features" else {"num_outputs": 3, name: size}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got"):
        create_model("[lstm]*1 dim=16", **sizes)
