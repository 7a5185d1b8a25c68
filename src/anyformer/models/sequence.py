"""Models: an embedding, a backbone and a head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Call, Context
from anyformer.embed import Embedder, embedding, source_embedding
from anyformer.heads import Head, Loss, Pool, create_head
from anyformer.inputs import take_tokens
from anyformer.layers.norms import create_norm
from anyformer.models.build import Backbone, decoder_of, encoder_of
from anyformer.models.given import (
    TOKENS,
    Given,
    at_sites,
    check_head,
    check_inputs,
    check_source,
    joined_mask,
    pooled,
    table_of,
    with_tokens,
)
from anyformer.models.inputs import ReadsInputs
from anyformer.models.recent import head_tokens, last_tokens, numbers_of, read_beside
from anyformer.models.saved import SavedModel
from anyformer.models.spec import ModelSpec
from anyformer.precision import widen
from anyformer.schema import InputFacts, Stream, Values
from anyformer.state import State


class SequenceModel(ReadsInputs, nn.Module, SavedModel):
    """A model of sequences of tokens, features or fields, with an output for each element or one for the sequence.

    With a source, x continues another sequence, such as a sentence to be translated. A stack reads both as one
    sequence, the source first; with an encoder, the decoder reads x and attends to the encoded source. Either way,
    outputs are those of x alone. Tokens of vocabularies of the same size, and fields that are equal, share their
    embedding.

    Build it with :func:`create_model`; save and load it with ``save_pretrained`` and ``from_pretrained``.

    Args:
        spec: fields of a :class:`ModelSpec`; one with an ``encoder`` needs a source.
        vocab_size: number of tokens, for x (B, T) int64; or
        num_features: number of features, for x (B, T, num_features) float; or
        stream: fields of a :class:`anyformer.schema.StreamFacts`, for x a dict of fields.
        num_outputs: outputs O, by default ``vocab_size``.
        pool: ``None`` for an output for each token (B, T, O); ``"mean"`` of the real tokens, or the ``"last"`` of
            them, for one for each sequence (B, O).
        source: fields of a :class:`anyformer.schema.InputFacts`, of the sequence before x.
        window: fields of a :class:`anyformer.schema.SeriesWindow`, where x are windows of series.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        vocab_size: int | None = None,
        num_features: int | None = None,
        num_outputs: int | None = None,
        pool: Pool = None,
        stream: dict[str, Any] | None = None,
        source: dict[str, Any] | None = None,
        window: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_inputs(vocab_size, num_features, stream, num_outputs, pool)
        self.spec = ModelSpec.model_validate(spec)
        self.pool = pool
        outputs = vocab_size if num_outputs is None else num_outputs
        assert outputs is not None
        self.num_outputs = outputs
        self.inputs = InputFacts.model_validate(
            {"vocab_size": vocab_size, "num_features": num_features, "stream": stream, "window": window}
        )
        self.source = None if source is None else InputFacts.model_validate(source)
        if self.spec.encoder and self.source is None:
            raise ValueError(
                "the spec has an encoder, which reads a source, and there is none: it is for data with a sequence "
                "before the inputs, such as pairs of texts"
            )
        D, part = self.spec.dim, self.spec.embed
        self.embed = embedding(self.inputs, D, part.name, **part.options)
        if self.source is not None:
            self.source_embed = source_embedding(self.source, D, self.inputs, self.embed)
        norm = self.spec.norm if part.options.get("normed") and not self.spec.encoder else "none"
        self.embed_norm = create_norm(norm, D, self.spec.norm_eps)
        self.encoder = encoder_of(self.spec) if self.spec.encoder else None
        self.body = decoder_of(self.spec) if self.spec.encoder else Backbone(self.spec, grid=self._grid)
        if self.joins and self.body.info.grid:
            raise ValueError("the spec has mixers on a grid, which no source can stand in front of")
        if self._reads_whole and (pool is None or self.source is not None):
            raise ValueError(
                f"embed: {part.name} reads a sequence whole, for one answer, and this data asks for "
                f"{'several' if pool is None else 'one behind a source'}"
            )
        options = {"bias": pool is not None or vocab_size is None, **self.spec.head.options}
        width, each = D, outputs
        if self.sites is not None:
            whole = pool is not None and source is None
            width, each = at_sites(self.sites, part.name, D, outputs, whole=whole)
        self.head: Head = create_head(self.spec.head.name, width, each, pool=pool, options=options)
        check_head(self.spec.head.name, self.head, self.inputs)
        if self.head.options.tied and (vocab_size is not None or not self.spec.encoder):
            self.head.tie(table_of(self.embed, outputs, vocab_size))

    @property
    def joins(self) -> bool:
        """True if the body reads the source and x as one sequence."""
        return self.source is not None and self.encoder is None

    def forward(
        self,
        x: Tensor | Values,
        mask: Tensor | None = None,
        *,
        source: Stream | None = None,
        at: Tensor | None = None,
        following: Tensor | None = None,
        positions: Tensor | None = None,
        context: Context | None = None,
        call: Call | None = None,
        source_call: Call | None = None,
    ) -> Tensor:
        """Return outputs (B, T, O), or (B, O) if the model pools; see :meth:`anyformer.Mixer.forward` for the rest.

        Args:
            x: tokens, features or fields.
            mask: (B, T).
            source: the sequence before x, for a model with one.
            at: (B, N) int64, the elements of x whose outputs are asked, (B, N, O), of a model that does not pool.
            following: answers to the outputs, below 0 for none, which a head that counts leaves out in training; by
                default the next tokens.
            positions: of x; a stack with a source numbers the elements of both itself.
            context: another sequence that the mixers of a stack attend to.
            call: of the body; its side inputs are of the elements of x, in a stack with a source of those of both.
            source_call: of the encoder, by default one without side inputs.
        """
        h = self.hidden(
            x, mask, source=source, positions=positions, context=context, call=call, source_call=source_call
        )
        if self.sites is not None:
            assert isinstance(self.embed, Embedder)
            return self.embed.answer(self.head(self.embed.read(h)), self.inputs.values(x))
        beside = self.beside(x, mask, at=at, following=following)
        if at is not None:
            h = take_tokens(h, at)
        return self.head(pooled(h, None if self._reads_whole else mask, self.pool), **beside)

    def hidden(
        self,
        x: Tensor | Values,
        mask: Tensor | None = None,
        *,
        source: Stream | None = None,
        positions: Tensor | None = None,
        context: Context | None = None,
        call: Call | None = None,
        source_call: Call | None = None,
    ) -> Tensor:
        """Return the hidden states (B, T, D) of the elements of x before the head; see :meth:`forward`."""
        given = self._read(x, mask, source, positions, context, call, source_call)
        call = self._told(call, x, source)
        h = self.body(given.x, mask=given.mask, positions=positions, context=given.context, call=call)
        return given.own(h)

    def start(
        self,
        x: Tensor | Values,
        mask: Tensor | None = None,
        *,
        source: Stream | None = None,
        call: Call | None = None,
        source_call: Call | None = None,
    ) -> tuple[Tensor, State]:
        """Return outputs (B, T, O) of the first elements of x, behind a source if the model has one, and the state.

        :meth:`stream` continues from that state.
        """
        given, call = self._read(x, mask, source, None, None, call, source_call), self._told(call, x, source)
        state = self.init_state(given.x.shape[0])
        h, body = self.body.stream(
            given.x,
            (state["body"] if self.head.context else state),
            mask=given.mask,
            context=given.context,
            call=call,
        )
        return self._streamed(given.own(h), x, mask, state, body)

    def loss(
        self, x: Tensor | Values, targets: Tensor, objective: Loss, mask: Tensor | None = None, **given: Any
    ) -> Tensor:
        """Return the head's mean loss over the targets that count, a scalar in at least float32.

        Args:
            x, mask, given: arguments of :meth:`forward`.
            targets: in the form that the objective states.
            objective: the task's, whose loss the head has unless it has one of its own.
        """
        if self.head.context:
            given.setdefault("following", targets)
        return self.head.loss(widen(self(x, mask, **given)), targets, objective)

    def answer(
        self, x: Tensor | Values, mask: Tensor | None = None, *, asked: Tensor | None = None, **given: Any
    ) -> Tensor:
        """Return the head's answers for metrics, of the shape of its outputs, in at least float32.

        Args:
            x, mask, given: arguments of :meth:`forward`.
            asked: (B, T) bool, True at the elements that answers are asked for; by default all that are real.
        """
        asked = mask > 0 if asked is None and mask is not None else asked
        return self.head.answer(widen(self(x, mask, **given)), asked)

    def init_state(self, batch_size: int) -> State:
        """Return the state before the first token; of a model with a source, see :meth:`start`.

        Raises:
            ValueError: the model does not stream.
        """
        if self.sites is not None or self._reads_whole:
            raise ValueError(f"the model does not stream: a {self.read_whole} is read whole")
        state = self.body.init_state(batch_size)
        if not self.head.context:
            return state
        device = next(self.head.parameters()).device
        tokens = torch.zeros(batch_size, self.head.context - 1, dtype=torch.int64, device=device)
        return {"body": state, "tokens": tokens}

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
        given, call, body = (
            self._embed(x),
            self._told(call, x),
            (state["body"] if self.head.context else state),
        )
        h, body = self.body.stream(given, body, mask=mask, positions=positions, context=context, call=call)
        return self._streamed(h, x, mask, state, body)

    def beside(
        self, x: Tensor | Values, mask: Tensor | None = None, **asked: Tensor | None
    ) -> dict[str, Tensor]:
        """Return what the head reads beside hidden states, by ``at`` and ``following`` of :meth:`forward`."""
        if not self.head.context:
            return {}
        numbers = numbers_of(x, self.facts, self.num_outputs)
        return read_beside(numbers, mask, self.head, training=self.training, **asked)

    def _streamed(
        self, h: Tensor, x: Tensor | Values, mask: Tensor | None, state: State, body: State
    ) -> tuple[Tensor, State]:
        """Return outputs of hidden states, and the new state of the model with that of its body."""
        if not self.head.context:
            return self.head(h), body
        numbers = numbers_of(x, self.facts, self.num_outputs)
        tokens, _ = head_tokens(numbers, mask, self.head.context, before=state["tokens"])
        return self.head(h, tokens=tokens), {
            "body": body,
            "tokens": last_tokens(numbers, mask, state["tokens"]),
        }

    def encode(self, source: Stream, *, call: Call | None = None) -> Context:
        """Return the encoded source, for a decoder to attend to."""
        assert self.encoder is not None
        return Context(self.encoder(self._embed_source(source), mask=source.mask, call=call), source.mask)

    def num_parameters(self) -> int:
        """Return the number of trainable parameters, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())

    def example(self, batch: int, length: int, generator: torch.Generator | None = None) -> Tensor | Values:
        """Return inputs x drawn at random, on the CPU; what is read whole, such as grids, has its own length."""
        if self.sites is not None and self.inputs.window is not None:
            length = self.inputs.window.steps
        return self.inputs.example(batch, length, generator)

    def example_source(
        self, batch: int, length: int, generator: torch.Generator | None = None
    ) -> Stream | None:
        """Return a source drawn at random, on the CPU; None for a model without one."""
        return None if self.source is None else Stream(self.source.example(batch, length, generator))

    def example_call(self, batch: int, length: int) -> Call:
        """Return a call with the side inputs, drawn at random, without which the model does not run."""
        side = self.body.required_side(batch, length, torch.Generator().manual_seed(0))
        device = next(self.parameters()).device
        return Call(side={name: value.to(device) for name, value in side.items()})

    def length(self, x: Tensor | Values, source: Stream | None = None) -> int:
        """Return the number of tokens of inputs x and of elements of the source."""
        before = 0 if source is None or self.source is None else self.source.length(source.inputs)
        return before + (self.fixed_length or self.inputs.length(x))

    def _read(
        self,
        x: Tensor | Values,
        mask: Tensor | None,
        source: Stream | None,
        positions: Tensor | None,
        context: Context | None,
        call: Call | None,
        source_call: Call | None,
    ) -> Given:
        """Return what the body reads."""
        if self.sites is not None and mask is not None:
            raise ValueError(
                f"mask must be None with embed={self.spec.embed.name}, which reads windows whole; values that are "
                "missing are filled and marked"
            )
        h = self._embed(x, mask)
        mask = None if self._reads_whole else mask
        check_source(source, h, context, wanted=self.source is not None)
        if source is None:
            return Given(h, mask, context)
        if self.encoder is not None:
            if source_call is None and call is not None:
                source_call = Call(losses=call.losses, notes=call.notes)
            return Given(h, mask, self.encode(source, call=source_call))
        if positions is not None:
            raise ValueError(
                "positions must be None in a stack with a source, which numbers the elements of both"
            )
        before = self._embed_source(source)
        return Given(
            torch.cat([before, h], 1), joined_mask(source.mask, mask, before, h), context, before.shape[1]
        )

    @property
    def given_side(self) -> tuple[str, ...]:
        """The side inputs that the model gives its mixers itself: ``tokens``, of x and of what it continues."""
        facts = (self.inputs, self.source if self.joins and self.source else self.inputs)
        known = all(one.vocab_size is not None for one in facts)
        return (TOKENS,) if known and TOKENS in self.body.info.side else ()

    def _told(self, call: Call | None, x: Tensor | Values, source: Stream | None = None) -> Call | None:
        return with_tokens(call, x, source if self.joins else None) if self.given_side else call

    def _embed(self, x: Tensor | Values, mask: Tensor | None = None) -> Tensor:
        return self._vectors(self.inputs, self.embed, x, "x", mask)

    def _embed_source(self, source: Stream) -> Tensor:
        assert self.source is not None
        return self._vectors(self.source, self.source_embed, source.inputs, "source")

    def _vectors(
        self, facts: InputFacts, embed: nn.Module, x: Tensor | Values, name: str, mask: Tensor | None = None
    ) -> Tensor:
        facts.check(x, name)
        given = facts.values(x) if isinstance(embed, Embedder) else x
        h = embed(given, mask) if isinstance(embed, Embedder) and embed.reads_whole else embed(given)
        scaled = self.spec.embed.options.get("scaled") and (
            facts.vocab_size is not None or self.encoder is None
        )
        return self.embed_norm(h * self.spec.dim**0.5 if scaled else h)
