"""The first form of encoder-decoders, whose folders and checkpoints are still read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from anyformer.contract import Call, Context
from anyformer.embed import DEFAULT
from anyformer.heads import head_class
from anyformer.models.build import Backbone
from anyformer.models.sequence import SequenceModel
from anyformer.models.spec import ModelSpec
from anyformer.schema import Stream

NAMES = {"embed.": "target_embed.", "body.": "decoder."}
"""Beginnings of the names of a :class:`SequenceModel`'s parameters, and those that stand in saved folders."""


class EncoderDecoder(SequenceModel):
    """A :class:`SequenceModel` with an encoder that is called with source and target.

    Args:
        spec: fields of a :class:`ModelSpec` with an ``encoder``.
        vocab_size: tokens of the target, and of the source if it has tokens.
        num_features: features of the source, if it has no tokens.
    """

    encoder: Backbone

    def __init__(self, spec: dict[str, Any], vocab_size: int, num_features: int | None = None) -> None:
        read = ModelSpec.model_validate(spec)
        if not read.encoder:
            raise ValueError("the spec has no encoder: build it with anyformer.models.SequenceModel")
        if read.embed.name != DEFAULT:
            raise ValueError(f"embed must be left out of an encoder-decoder's spec, got {read.embed}")
        if head_class(read.head.name).sees_whole:
            raise ValueError(
                f"head {read.head.name!r} answers after the last element, and a decoder tells the next one"
            )
        source = {"vocab_size": vocab_size} if num_features is None else {"num_features": num_features}
        super().__init__(spec, vocab_size, source=source)
        self.register_state_dict_post_hook(_old_names)
        self.register_load_state_dict_pre_hook(_new_names)
        self.register_load_state_dict_post_hook(_missing_by_old_names)

    @property
    def target_embed(self) -> nn.Module:
        """The embedding of the target."""
        return self.embed

    @property
    def decoder(self) -> Backbone:
        """The decoder."""
        return self.body

    def forward(  # type: ignore[override]
        self,
        source: Tensor,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        *,
        call: Call | None = None,
        source_call: Call | None = None,
    ) -> Tensor:
        """Return logits (B, T, vocab_size): at each token of the target (B, T), those of the next token.

        ``call`` is the decoder's and ``source_call`` the encoder's.
        """
        return super().forward(
            target,
            target_mask,
            source=Stream(source, source_mask),
            call=call,
            source_call=source_call or Call(),
        )

    def encode(
        self, source: Tensor | Stream, mask: Tensor | None = None, *, call: Call | None = None
    ) -> Context:
        """Encode source (B, S) int64 or (B, S, F) float with mask (B, S) as the decoder's context."""
        return super().encode(source if isinstance(source, Stream) else Stream(source, mask), call=call)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    begin = next((begin for begin in names if name.startswith(begin)), "")
    return names.get(begin, "") + name.removeprefix(begin)


def _old_names(_: nn.Module, held: dict[str, Any], prefix: str, *more: Any) -> None:
    """Rename what a state dict holds."""
    for name in [name for name in held if name.startswith(prefix)]:
        held[prefix + _renamed(name.removeprefix(prefix), NAMES)] = held.pop(name)


def _new_names(_: nn.Module, held: dict[str, Any], prefix: str, *more: Any) -> None:
    """Rename what a state dict that is loaded holds."""
    names = {old: new for new, old in NAMES.items()}
    for name in [name for name in held if name.startswith(prefix)]:
        held[prefix + _renamed(name.removeprefix(prefix), names)] = held.pop(name)


def _missing_by_old_names(_: nn.Module, keys: Any) -> None:
    """Rename what a state dict lacks: safetensors looks there for tensors that are shared and stored once."""
    keys.missing_keys[:] = [_renamed(name, NAMES) for name in keys.missing_keys]
