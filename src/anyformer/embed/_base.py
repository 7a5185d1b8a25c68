"""The interface of an embedder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from anyformer.options import Part, PartOptions
from anyformer.schema import Field, StreamFacts, Values
from anyformer.spelling import option


class Sites(NamedTuple):
    """Places at which a model's answers are read, where it is not pooled: each has some outputs of its own.

    Attributes:
        places: their number N.
        tokens: number of tokens that each is read from, side by side.
    """

    places: int
    tokens: int


class EmbedderInfo(NamedTuple):
    """Properties of an embedder for a stream, known without building it.

    Attributes:
        length: number of tokens of each sample, None if it is that of the inputs.
        grid: sizes of the grid that the tokens form in raster order, None if they form none.
        sites: where answers are read (:meth:`Embedder.read`), None if the model is pooled or answers for each token.
    """

    length: int | None = None
    grid: tuple[int, ...] | None = None
    sites: Sites | None = None


class Embedder(Part, nn.Module):
    """A map of a stream of fields to vectors.

    Args:
        facts: the fields.
        dim: width D.
        known: modules of another stream's fields, which equal fields may share.
        options: see ``Options``.

    Raises:
        ValueError: it does not embed such streams.
    """

    class Options(PartOptions):
        """The options of an embedder. The model does what those of all embedders say.

        Args:
            normed: put the model's norm on the embedded input; in an encoder-decoder, behind the positions.
            scaled: multiply the embedded input by sqrt(D), as a table requires that is the output matrix too (Vaswani
                2017, section 3.4); in an encoder-decoder, only tokens.
        """

        normed: bool = False
        scaled: bool = False

        def info(self, facts: StreamFacts) -> EmbedderInfo:
            """Return the properties under these options; raise ``ValueError`` for streams that it does not embed."""
            raise NotImplementedError

        def needs(self, facts: StreamFacts, *shapes: str) -> None:
            """Raise ``ValueError`` unless the stream has one of these shapes."""
            if facts.shape not in shapes:
                told: str = facts.shape
                if facts.shape == "record":
                    told = "record: columns without an order"
                    if "sequence" in shapes and not any(field.size for field in facts.fields):
                        told += f"; {option('ordered', True)} reads them as a series"
                raise ValueError(
                    f"embed: {self.owner} embeds a {' or a '.join(shapes)}, and the inputs are a {told}"
                )

    options: Options
    reads_whole: ClassVar[bool] = False
    """True if it is called with the mask of the elements too, and its tokens, all of them real, stand for a whole
    sequence: the model has one answer for each."""
    fit_elements: ClassVar[int] = 0
    """Elements of training samples, about, that it is fitted on before training; 0 if it is not."""

    def __init__(
        self,
        facts: StreamFacts,
        dim: int,
        known: Mapping[Field, nn.Module] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.options = self.Options.read(options)
        self.facts, self.dim, self.info = facts, dim, self.options.info(facts)

    @property
    def modules_of_fields(self) -> dict[Field, nn.Module]:
        """The modules that belong to one field each."""
        return {}

    def forward(self, values: Values) -> Tensor:
        """x ``(B, T, D)`` of checked values (:meth:`anyformer.schema.StreamFacts.check`)."""
        raise NotImplementedError

    def fit(self, values: Values, mask: Tensor | None = None) -> None:
        """Set what is not trained by checked values of training samples and their mask ``(B, T)``."""
        raise NotImplementedError

    def read(self, h: Tensor) -> Tensor:
        """Return what a head reads at ``info.sites``, ``(B, N, tokens * D)``, of hidden states ``(B, T, D)``."""
        raise NotImplementedError

    def answer(self, outputs: Tensor, values: Values) -> Tensor:
        """Return a model's outputs ``(B, O)`` of the head's at each site ``(B, N, O / N)``, in the inputs' units."""
        raise NotImplementedError

    def length(self, values: Values) -> int:
        """The number of tokens T."""
        return self.facts.length(values) if self.info.length is None else self.info.length
