"""Modules built from a spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.channels import channels, create_channel
from anyformer.contract import Inputs, Mixer, MixerInfo, Wrapper
from anyformer.inputs import moved
from anyformer.layers.grid import read_grid
from anyformer.layers.norms import create_norm
from anyformer.mixers import create_mixer, mixers
from anyformer.models.line import PartSpec
from anyformer.models.names import list_models
from anyformer.models.spec import ModelSpec, read_pattern
from anyformer.parts import mixer_class, option_names
from anyformer.positions import create_position, position_info
from anyformer.positions import positions as schemes
from anyformer.registry import nearest
from anyformer.stack import Stack
from anyformer.state import State
from anyformer.wrappers import create_wrapper, wrappers

NO_MIXER = "none"
"""The name of a layer without a token mixer, which is its channel mixers alone."""

Step = tuple[Mixer, float]
"""A sublayer, and the factor of its output."""


class Backbone(Wrapper):
    """The body of a model, between embedding and head: positions and a stack.

    Args:
        spec: the model.
        layers: another stack than the spec's ``layers`` (an encoder's).
        cross: add cross-attention after each token mixer.
        positions: the scheme in place of the spec's.
        embed_norm: normalise the input after adding positions.
        prefix: number of learned tokens before the input.
        grid: sizes of the grid that the tokens form in raster order, if they do: parts with an option ``grid`` get it.
    """

    class Options(Wrapper.Options):
        max_length: int | None = None  # of the positions that are added

        def info(self, stack: MixerInfo) -> MixerInfo:
            limits = [limit for limit in (stack.max_length, self.max_length) if limit is not None]
            return dataclasses.replace(stack, max_length=min(limits, default=None))

    def __init__(
        self,
        spec: ModelSpec,
        layers: Sequence[PartSpec] | None = None,
        *,
        causal: bool | None = None,
        cross: bool = False,
        positions: PartSpec | None = None,
        embed_norm: bool = False,
        prefix: int | None = None,
        grid: tuple[int, ...] | None = None,
    ) -> None:
        causal = spec.causal if causal is None else causal
        if prefix is None:
            prefix = 0 if spec.encoder else spec.prefix
        if causal and prefix:
            raise ValueError(f"prefix must be 0 in a causal model, got {prefix}")
        builder = _Builder(spec, causal, cross, positions or spec.positions, grid)
        stack = builder.stack(spec.layers if layers is None else layers, last_norm=spec.residual != "post")
        longest = None if builder.embed is None else builder.embed.max_length
        if prefix and stack.info.grid:
            raise ValueError(
                f"prefix must be 0 with mixers on a grid, on which tokens in front move all, got {prefix}"
            )
        super().__init__(spec.dim, stack, max_length=longest)
        self.stack = stack
        if spec.scaled_init:
            _shrink_outputs(stack)
        self.embed = builder.embed
        self.embed_norm = create_norm(spec.norm if embed_norm else "none", spec.dim, spec.norm_eps)
        self.prefix = nn.Parameter(torch.randn(prefix, spec.dim) * spec.dim**-0.5) if prefix else None

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        x = self._embed(x, inputs)
        if self.prefix is None:
            return self.stack(x, inputs)
        n = len(self.prefix)
        x = torch.cat([self.prefix.to(x.dtype).expand(len(x), -1, -1), x], 1)
        return self.stack(x, _after_prefix(inputs, n))[:, n:]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return self.stack.own_state(batch_size, device, dtype)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        return self.stack.stream(self._embed(x, inputs, streaming=True), state, inputs)

    def _embed(self, x: Tensor, inputs: Inputs, streaming: bool = False) -> Tensor:
        if self.embed is not None:
            x = self.embed.embed(x, self.embed.ids(inputs, streaming))
        return inputs.zero(self.embed_norm(x))


def encoder_of(spec: ModelSpec) -> Backbone:
    """Build the encoder of an encoder-decoder."""
    assert spec.encoder is not None
    return Backbone(
        spec,
        spec.encoder.layers,
        causal=False,
        positions=spec.encoder.positions,
        embed_norm=spec.embed.options.get("normed", False),
        prefix=spec.prefix,
    )


def decoder_of(spec: ModelSpec) -> Backbone:
    """Build the decoder of an encoder-decoder."""
    return Backbone(spec, cross=True, embed_norm=spec.embed.options.get("normed", False))


def _after_prefix(inputs: Inputs, n: int) -> Inputs:
    """Return inputs with ``n`` more tokens in front, which are at position 0 and have zero side inputs."""

    def fill(t: Tensor, value: float = 0) -> Tensor:
        return torch.cat([t.new_full((len(t), n, *t.shape[2:]), value), t], 1)

    side = moved(inputs.call.side, inputs.sides, lambda t, kind: fill(t, kind.absent))
    B, T = inputs.index.shape
    return inputs.replace(
        mask=None if inputs.mask is None else fill(inputs.mask, 1),
        index=torch.arange(n + T, device=inputs.index.device).expand(B, n + T),
        positions=fill(inputs.positions),
        call=dataclasses.replace(inputs.call, side=side),
    )


class _Builder:
    """Builder of the stacks of one backbone; parts with a tag are built once."""

    def __init__(
        self,
        spec: ModelSpec,
        causal: bool,
        cross: bool,
        positions: PartSpec,
        grid: tuple[int, ...] | None = None,
    ) -> None:
        self.spec, self.causal, self.cross, self.grid = spec, causal, cross, grid
        self.tagged: dict[tuple[str, str], tuple[PartSpec, list[Step]]] = {}
        self.embed = None
        self.positions = positions
        self.mixer_positions = self.positions_here()
        self.facts = position_info(self.mixer_positions)
        if causal and not self.facts.streams:
            raise ValueError(
                f"causal must be False with positions={positions.name!r}: a token's number depends on later tokens"
            )
        if self.facts.adds:
            options = {"num_heads": 1, "head_dim": spec.dim, **self.mixer_positions}
            self.embed = create_position(options.pop("name"), dim=spec.dim, **options)
            self.positions = PartSpec(name="none")
            self.mixer_positions = self.positions_here()

    def positions_here(self) -> dict[str, Any]:
        """Return the scheme of the mixers on this grid, with its options."""
        name = self.positions.name
        known = schemes.get(name).target.Options.names()
        return {"name": name, **self.on_grid(name, dict(self.positions.options), known)}

    def stack(self, layers: Sequence[PartSpec], last_norm: bool = True) -> Stack:
        built = [self.layer(part) for part in layers]
        return Stack(
            self.spec.dim,
            [[mixer for mixer, _ in layer] for layer in built],
            residual=self.spec.residual,
            norm=self.spec.norm,
            norm_eps=self.spec.norm_eps,
            dropout=self.spec.dropout,
            last_norm=last_norm,
            steps=[step for layer in built for _, step in layer],
        )

    def layer(self, part: PartSpec) -> list[Step]:
        """Return the sublayers of one layer."""
        if part.tag is None:
            return self.sublayers(part)
        key = (part.name, part.tag)
        if key not in self.tagged:
            self.tagged[key] = (part, self.sublayers(part))
        first, built = self.tagged[key]
        if first != part:
            raise ValueError(
                f"{part.name}@{part.tag} stands in the spec with different options: {first} and {part}"
            )
        return built

    def sublayers(self, part: PartSpec) -> list[Step]:
        options = dict(part.options)
        if part.name in wrappers and not _wrapper(part).is_token_mixer:
            return [(self.wrapper(part, options), 1.0)]
        if part.inner and part.name not in wrappers:
            raise ValueError(f"{part.name!r} is not a wrapper, it cannot hold {part.inner[0][0].name!r}")
        given = options.pop("channel", self.spec.channel)
        channel = PartSpec(name="none") if given is None else given
        channel = PartSpec(name=channel) if isinstance(channel, str) else PartSpec.model_validate(channel)
        found: list[Step] = []
        for sublayer, step in read_pattern(self.spec.pattern):
            if sublayer == "mixer":
                if part.name != NO_MIXER:
                    token_mixer = self.wrapper if part.name in wrappers else self.mixer
                    found.append((token_mixer(part, options), step))
                elif options:
                    raise ValueError(
                        f"{NO_MIXER} is a layer without a token mixer and has no options, got {part}"
                    )
                if self.cross:
                    assert self.spec.encoder is not None
                    cross = self.spec.encoder.cross
                    found.append((create_mixer(cross.name, self.spec.dim, **cross.options), step))
            elif channel.name != "none":
                found.append((create_channel(channel.name, self.spec.dim, **channel.options), step))
        return found

    def wrapper(self, part: PartSpec, options: dict[str, Any]) -> Mixer:
        if not part.inner:
            raise ValueError(f"{part.name} wraps stacks of layers; write {part.name}([attention*2], ...)")
        cls, around = _wrapper(part), self
        if cls.is_token_mixer:
            around = copy(self)
            around.spec, around.cross = self.spec.model_copy(update={"channel": None}), False
        options = self.on_grid(part.name, options, option_names(wrappers, part.name))
        read, stacks = cls.Options.read(options), list[Mixer]()
        assert isinstance(read, Wrapper.Options)
        for i, layers in enumerate(part.inner):
            builder = around.within(*read.inside(i, len(part.inner), self.spec.dim, self.grid))
            stacks.append(builder.stack(layers, last_norm=cls.inner_norm))
        return create_wrapper(part.name, self.spec.dim, stacks, **options)

    def within(self, dim: int, grid: tuple[int, ...] | None) -> _Builder:
        """Return the builder of a stack of another width and on another grid than the model's tokens; shares tags."""
        if (dim, grid) == (self.spec.dim, self.grid):
            return self
        found, channel = copy(self), self.spec.channel
        if channel is not None and "hidden_dim" in channel.options:  # solved for at the model's width
            hidden = channel.options["hidden_dim"] * dim // self.spec.dim
            channel = channel.model_copy(update={"options": {**channel.options, "hidden_dim": hidden}})
        found.spec, found.grid = self.spec.model_copy(update={"dim": dim, "channel": channel}), grid
        found.mixer_positions = found.positions_here()
        return found

    def on_grid(self, name: str, options: dict[str, Any], known: Sequence[str]) -> dict[str, Any]:
        """Return the options of a part with the grid of the tokens, where there is one and the part is told it.

        Raises:
            ValueError: they state another grid.
        """
        if self.grid is None or len(self.grid) < 2 or "grid" not in known:
            return options
        first, *others = self.grid
        stated = options.get("grid")
        if stated is not None and read_grid(stated) != tuple(others):
            wanted, whole = ("x".join(map(str, sizes)) for sizes in (others, self.grid))
            raise ValueError(
                f"{name}: grid must be {wanted}, as the tokens form {whole}, or be left out, got {stated}"
            )
        rows = {"rows": first} if "rows" in known else {}
        return {"grid": others[0] if len(others) == 1 else tuple(others), **rows, **options}

    def mixer(self, part: PartSpec, options: dict[str, Any]) -> Mixer:
        name = part.name
        if name in channels:
            return create_channel(name, self.spec.dim, **options)
        if name not in mixers and ".py:" not in name:
            model = f"; {name} is a whole model, which stands alone" if name in list_models() else ""
            raise ValueError(
                f"unknown part {name!r}{model or nearest(name, [*mixers.ids(), *wrappers.ids(), *channels.ids()])}"
            )
        known = option_names(mixers, name)
        options = self.on_grid(name, options, known)
        if "positions" in known:
            options.setdefault("positions", self.mixer_positions)
        if "causal" in known:
            options.setdefault("causal", self.causal)
        return create_mixer(name, self.spec.dim, **options)


def _wrapper(part: PartSpec) -> type[Wrapper]:
    found = mixer_class(wrappers, part.name)
    if not issubclass(found, Wrapper):
        raise ValueError(
            f"wrapper {part.name!r} must be a subclass of anyformer.contract.Wrapper, got {found!r}"
        )
    return found


@torch.no_grad()
def _shrink_outputs(stack: Stack) -> None:
    """Divide each sublayer's last matrix by the root of the number of sublayers."""
    for mixer in dict.fromkeys(stack.mixers):
        last = [module for module in mixer.modules() if isinstance(module, torch.nn.Linear)][-1:]
        for linear in last:
            linear.weight.div_(len(stack.mixers) ** 0.5)
