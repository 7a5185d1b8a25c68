"""The laws that embedders obey, one file for each subject: from fields to vectors."""

from anyformer.laws.embedders.cases import EmbedderCase, embedder_cases
from anyformer.laws.embedders.run import check_embedder

__all__ = ["EmbedderCase", "check_embedder", "embedder_cases"]
