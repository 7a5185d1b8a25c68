"""Whole architectures: an embedding, a body built from a spec, and a head."""

from anyformer.models.create import create_model
from anyformer.models.encoder_decoder import EncoderDecoder
from anyformer.models.line import PartSpec
from anyformer.models.load import load_spec, named_fields
from anyformer.models.names import list_models, models, register_model
from anyformer.models.sequence import SequenceModel
from anyformer.models.size import match_parameters
from anyformer.models.spec import EncoderSpec, ModelSpec

__all__ = [
    "EncoderDecoder",
    "EncoderSpec",
    "ModelSpec",
    "PartSpec",
    "SequenceModel",
    "create_model",
    "list_models",
    "load_spec",
    "match_parameters",
    "models",
    "named_fields",
    "register_model",
]
