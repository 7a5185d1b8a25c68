"""The inputs of a model, by its facts and its embedder."""

from __future__ import annotations

from torch import nn

from anyformer.embed import Embedder, Sites
from anyformer.schema import InputFacts, StreamFacts


class ReadsInputs:
    """A model with inputs and an embedder of them."""

    inputs: InputFacts
    embed: nn.Module

    @property
    def vocab_size(self) -> int | None:
        """Number of tokens, if x holds tokens."""
        return self.inputs.vocab_size

    @property
    def num_features(self) -> int | None:
        """Number of features, if x holds numbers."""
        return self.inputs.num_features

    @property
    def facts(self) -> StreamFacts | None:
        """The fields, if x holds fields."""
        return self.inputs.stream

    @property
    def fixed_length(self) -> int | None:
        """The number of tokens that every x has, None if it is that of x."""
        return self.embed.info.length if isinstance(self.embed, Embedder) else None

    @property
    def sites(self) -> Sites | None:
        """The places at which the embedder reads answers, None if the model pools or answers for each token."""
        return self.embed.info.sites if isinstance(self.embed, Embedder) else None

    @property
    def read_whole(self) -> str | None:
        """The shape of inputs that the model reads whole, and so does not stream, such as a grid; None for others."""
        if self.fixed_length is None:
            return None
        if self.inputs.window is not None:
            return "window"
        return "sequence" if self.facts is None else self.facts.shape

    @property
    def _reads_whole(self) -> bool:
        return isinstance(self.embed, Embedder) and self.embed.reads_whole

    @property
    def _grid(self) -> tuple[int, ...] | None:
        return self.embed.info.grid if isinstance(self.embed, Embedder) else None
