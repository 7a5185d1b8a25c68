"""Models: an embedding, a backbone and a head."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import safe_open
from torch import Tensor, nn

from anyformer.contract import Call, Context
from anyformer.embed import create_embedder
from anyformer.layers.linear import Linear
from anyformer.layers.norms import create_norm
from anyformer.models.build import Backbone, decoder_of, encoder_of
from anyformer.models.spec import ModelSpec, load_spec
from anyformer.schema import StreamFacts, Values
from anyformer.state import State
from anyformer.user_code import save_code, trusted_config

POOLS = (None, "mean", "last")


class _Saved(PyTorchModelHubMixin):
    """A model that is saved as a folder, with the Python files that its spec names.

    ``from_pretrained(folder, trust_code=True)`` runs those files; without it they are refused, as the folder may not
    be trusted.
    """

    spec: ModelSpec

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        _readable_by_umask(save_directory / "model.safetensors")
        save_code(self.spec.model_dump(), save_directory)

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls, *, model_id: str, spec: Any, trust_code: bool = False, **others: Any
    ) -> _Saved:
        trusted = trusted_config(spec, Path(model_id), trust_code=trust_code)
        weights = Path(model_id) / "model.safetensors"
        if weights.exists():
            weights.open("rb").close()  # safetensors reports an unreadable file as missing
        found: _Saved = super()._from_pretrained(model_id=model_id, spec=trusted, **others)
        return found

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        _take_dtypes(model, Path(model_file))
        return super()._load_as_safetensor(model, model_file, map_location, strict)


def _take_dtypes(model: nn.Module, weights: Path) -> None:
    """Set the dtypes of the parameters to those that they were saved in."""
    with safe_open(weights, "pt") as stored:
        names = set(stored.keys())
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name in names and tensor.is_floating_point():
                tensor.data = tensor.data.to(stored.get_tensor(name).dtype)


def _readable_by_umask(path: Path) -> None:
    """Set the mode of a file to that of a new one, as safetensors makes files readable to the owner only."""
    new = path.with_name(f".{path.name}.{os.getpid()}.mode")
    new.touch()
    shutil.copymode(new, path)
    new.unlink()


class SequenceModel(nn.Module, _Saved):
    """A model of sequences of tokens, features or fields, with an output for each element or one for the sequence.

    Build it with :func:`create_model`; save and load it with ``save_pretrained`` and ``from_pretrained``.

    Args:
        spec: fields of a :class:`ModelSpec`.
        vocab_size: number of tokens, for x (B, T) int64; or
        num_features: number of features, for x (B, T, num_features) float; or
        stream: fields of a :class:`anyformer.schema.StreamFacts`, for x a dict of fields.
        num_outputs: outputs O, by default ``vocab_size``.
        pool: ``None`` for an output for each token (B, T, O); ``"mean"`` of the real tokens, or the ``"last"`` of
            them, for one for each sequence (B, O).
    """

    def __init__(
        self,
        spec: dict[str, Any],
        vocab_size: int | None = None,
        num_features: int | None = None,
        num_outputs: int | None = None,
        pool: str | None = None,
        stream: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if sum(given is not None for given in (vocab_size, num_features, stream)) != 1:
            raise ValueError(
                f"exactly one of vocab_size, num_features and stream must be given, got {vocab_size}, {num_features} "
                f"and {stream}"
            )
        _check_sizes(vocab_size=vocab_size, num_features=num_features, num_outputs=num_outputs)
        if num_outputs is None and vocab_size is None:
            raise ValueError("num_outputs must be given for a model of features or fields")
        if pool not in POOLS:
            raise ValueError(f"pool must be None, 'mean' or 'last', got {pool!r}")
        self.spec = ModelSpec.model_validate(spec)
        if self.spec.encoder:
            raise ValueError("the spec has an encoder: build it with anyformer.models.EncoderDecoder")
        self.vocab_size, self.num_features, self.pool = vocab_size, num_features, pool
        outputs = vocab_size if num_outputs is None else num_outputs
        assert outputs is not None
        self.num_outputs = outputs
        D = self.spec.dim
        self.facts = None if stream is None else StreamFacts.model_validate(stream)
        self.embed = (
            _embedding(vocab_size, num_features, D) if self.facts is None else create_embedder(self.facts, D)
        )
        self.embed_norm = (
            create_norm(self.spec.norm, D, self.spec.norm_eps) if self.spec.embed_norm else nn.Identity()
        )
        self.body = Backbone(self.spec)
        bias = self.spec.head_bias
        self.head = Linear(D, outputs, bias=pool is not None or vocab_size is None if bias is None else bias)
        if self.spec.tie_embeddings:
            if not isinstance(self.embed, nn.Embedding) or outputs != vocab_size:
                raise ValueError("tie_embeddings needs as many outputs as tokens")
            self.head.weight = self.embed.weight

    def forward(
        self,
        x: Tensor | Values,
        mask: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        context: Context | None = None,
        call: Call | None = None,
    ) -> Tensor:
        """Return outputs (B, T, O), or (B, O) if the model pools; see :meth:`anyformer.Mixer.forward` for the rest."""
        h = self.body(self._embed(x), mask=mask, positions=positions, context=context, call=call)
        return self.head(pooled(h, mask, self.pool))

    def init_state(self, batch_size: int) -> State:
        """Return the state before the first token."""
        return self.body.init_state(batch_size)

    def stream(
        self,
        x: Tensor | Values,
        state: State,
        mask: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        context: Context | None = None,
        call: Call | None = None,
    ) -> tuple[Tensor, State]:
        """Return outputs (B, T, O) of the next tokens and the new state; with pooling too, every token's output."""
        h, state = self.body.stream(
            self._embed(x), state, mask=mask, positions=positions, context=context, call=call
        )
        return self.head(h), state

    def num_parameters(self) -> int:
        """Return the number of trainable parameters, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())

    def example(self, batch: int, length: int, generator: torch.Generator | None = None) -> Tensor | Values:
        """Return inputs x drawn at random, on the CPU; records have their own length."""
        if self.facts is not None:
            return self.facts.example(batch, length, generator)
        if self.vocab_size is not None:
            return torch.randint(self.vocab_size, (batch, length), generator=generator)
        assert self.num_features is not None
        return torch.randn(batch, length, self.num_features, generator=generator)

    def length(self, x: Tensor | Values) -> int:
        """Return the number of elements T of inputs x."""
        if isinstance(x, Tensor):
            return x.shape[1]
        assert self.facts is not None
        return self.facts.length(x)

    def _embed(self, x: Tensor | Values) -> Tensor:
        if self.facts is None:
            h = embed_checked(self.embed, x, self.vocab_size, self.num_features)
        else:
            h = self.embed(x)
        return self.embed_norm(h * self.spec.dim**0.5 if self.spec.scale_embeddings else h)


class EncoderDecoder(nn.Module, _Saved):
    """A model that predicts a target sequence token by token, attending to a source sequence.

    Args:
        spec: fields of a :class:`ModelSpec` with an ``encoder``.
        vocab_size: tokens of the target, and of the source if it has tokens.
        num_features: features of the source, if it has no tokens.
    """

    def __init__(self, spec: dict[str, Any], vocab_size: int, num_features: int | None = None) -> None:
        super().__init__()
        self.spec = ModelSpec.model_validate(spec)
        if not self.spec.encoder:
            raise ValueError("the spec has no encoder: build it with anyformer.models.SequenceModel")
        _check_sizes(vocab_size=vocab_size, num_features=num_features)
        self.vocab_size, self.num_features = vocab_size, num_features
        D = self.spec.dim
        self.target_embed = nn.Embedding(vocab_size, D)
        nn.init.normal_(self.target_embed.weight, std=D**-0.5)
        self.source_embed = self.target_embed if num_features is None else Linear(num_features, D)
        self.encoder, self.decoder = encoder_of(self.spec), decoder_of(self.spec)
        self.head = Linear(D, vocab_size, bias=bool(self.spec.head_bias))
        if self.spec.tie_embeddings:
            self.head.weight = self.target_embed.weight
        self.scale = D**0.5 if self.spec.scale_embeddings else 1.0

    def encode(self, source: Tensor, mask: Tensor | None = None, *, call: Call | None = None) -> Context:
        """Encode source (B, S) int64 or (B, S, F) float with mask (B, S) as the decoder's context."""
        tokens = None if self.num_features is not None else self.vocab_size
        x = embed_checked(self.source_embed, source, tokens, self.num_features, "source")
        x = x if tokens is None else x * self.scale
        return Context(self.encoder(x, mask=mask, call=call), mask)

    def forward(
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
        x = self.scale * embed_checked(self.target_embed, target, self.vocab_size, None, "target")
        context = self.encode(source, source_mask, call=source_call)
        return self.head(self.decoder(x, mask=target_mask, context=context, call=call))

    def init_state(self, batch_size: int) -> State:
        """Return the decoder's state before its first token."""
        return self.decoder.init_state(batch_size)

    def stream(
        self,
        target: Tensor,
        state: State,
        mask: Tensor | None = None,
        *,
        context: Context | None = None,
        call: Call | None = None,
    ) -> tuple[Tensor, State]:
        """Return logits of the next target tokens and the new state; pass ``context`` of ``encode`` with the first."""
        x = self.scale * embed_checked(self.target_embed, target, self.vocab_size, None, "target")
        h, state = self.decoder.stream(x, state, mask=mask, context=context, call=call)
        return self.head(h), state

    def num_parameters(self) -> int:
        """Return the number of trainable parameters, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())


def create_model(
    spec: ModelSpec | Mapping[str, Any] | str | Path,
    *,
    vocab_size: int | None = None,
    num_features: int | None = None,
    num_outputs: int | None = None,
    pool: str | None = None,
    stream: dict[str, Any] | None = None,
    trust_code: bool = False,
    **changes: Any,
) -> SequenceModel:
    """Create a model from a name, a line, a dict, a YAML file or a spec (see :func:`load_spec`), with ``changes``.

    >>> create_model("mamba", vocab_size=256, dim=128, depth=4)
    >>> create_model("[mamba*3, attention(window=256)]*2 dim=256", vocab_size=256)

    Args:
        spec, changes, trust_code: arguments of :func:`load_spec`.
        vocab_size, num_features, num_outputs, pool, stream: arguments of :class:`SequenceModel`.

    Raises:
        ValueError: saying what in the spec is wrong, and what was expected.
    """
    fields = load_spec(spec, trust_code=trust_code, **changes).model_dump()
    return SequenceModel(fields, vocab_size, num_features, num_outputs, pool, stream)


def pooled(h: Tensor, mask: Tensor | None, pool: str | None) -> Tensor:
    """Return h (B, T, D) itself, its mean over the real tokens, or the last of them (B, D)."""
    if pool is None:
        return h
    if h.shape[1] == 0:
        raise ValueError("x must have at least one token to pool over, got none")
    real = torch.ones(h.shape[:2], dtype=torch.bool, device=h.device) if mask is None else mask > 0
    if pool == "mean":
        return (h * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp_min(1)
    order = torch.arange(h.shape[1], device=h.device)
    last = torch.where(real, order, 0).argmax(1)
    return h[torch.arange(h.shape[0], device=h.device), last]


def embed_checked(
    embed: nn.Module, x: Tensor | Values, vocab_size: int | None, num_features: int | None, name: str = "x"
) -> Tensor:
    """Embed x, after a check of its shape, dtype and range."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(x).__name__}")
    if vocab_size is not None:
        if x.dim() != 2 or x.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"{name} must be tokens (batch, time) of int64, got {tuple(x.shape)} {x.dtype}")
        if x.numel() and not torch.compiler.is_compiling() and not x.is_cuda:
            low, high = int(x.min()), int(x.max())
            if low < 0 or high >= vocab_size:
                raise ValueError(f"{name} must hold tokens from 0 to {vocab_size - 1}, got {low} to {high}")
    elif x.dim() != 3 or x.shape[-1] != num_features or not x.dtype.is_floating_point:
        raise ValueError(
            f"{name} must be features (batch, time, {num_features}) of float, got {tuple(x.shape)} {x.dtype}"
        )
    return embed(x)


def _check_sizes(**sizes: int | None) -> None:
    """Raise ``ValueError`` for a size that is given and is no whole number of at least 1."""
    for name, size in sizes.items():
        if size is not None and (isinstance(size, bool) or not isinstance(size, Integral) or size < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")


def _embedding(vocab_size: int | None, num_features: int | None, dim: int) -> nn.Module:
    if vocab_size is None:
        assert num_features is not None
        return Linear(num_features, dim)
    embed = nn.Embedding(vocab_size, dim)
    nn.init.normal_(embed.weight, std=dim**-0.5)
    return embed
