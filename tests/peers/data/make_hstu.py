"""Writes hstu.json: a layer of the original HSTU with its weights, as numbers to compare with.

Run in a folder that holds generative_recommenders/research/modeling/sequential/hstu.py of
github.com/meta-recsys/generative-recommenders at commit db1bf8f2e8f6a92a738dafd52a245eafb25a222b, as hstu.py:
python make_hstu.py hstu.json. Its other files, gin and fbgemm are not needed: one sequence fills the batch, so that
what is packed and what is padded differ by a shape alone.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

WIDTH, HEADS, HEAD, LENGTH = 6, 2, 4, 11
SEQUENTIAL = "generative_recommenders.research.modeling.sequential"
NAMES = {
    "gin": ("configurable",),
    f"{SEQUENTIAL}.embedding_modules": ("EmbeddingModule",),
    f"{SEQUENTIAL}.input_features_preprocessors": ("InputFeaturesPreprocessorModule",),
    f"{SEQUENTIAL}.output_postprocessors": ("OutputPostprocessorModule",),
    f"{SEQUENTIAL}.utils": ("get_current_embeddings",),
    "generative_recommenders.research.modeling.similarity_module": (
        "SequentialEncoderWithLearnedSimilarityModule",
    ),
    "generative_recommenders.research.rails.similarities.module": ("SimilarityModule",),
}


def stand_in() -> None:
    """Put empty classes and shapes in the place of what the file imports and does not run here."""
    for name, members in NAMES.items():
        module = sys.modules[name] = ModuleType(name)
        for member in members:
            setattr(module, member, type(member, (torch.nn.Module,), {}))
    sys.modules["gin"].configurable = lambda cls: cls  # type: ignore[attr-defined]
    library = torch.library.Library("fbgemm", "DEF")
    pad = "jagged_to_padded_dense"
    library.define(
        f"{pad}(Tensor values, Tensor[] offsets, int[] max_lengths, float padding_value=0.0) -> Tensor"
    )
    library.impl(pad, lambda values, *_, **__: values[None].clone(), "CPU")
    library.define("dense_to_jagged(Tensor dense, Tensor[] offsets) -> (Tensor, Tensor)")
    library.impl("dense_to_jagged", lambda dense, offsets: (dense[0].clone(), offsets[0].clone()), "CPU")
    sys.modules["stand_in"] = library  # type: ignore[assignment]  # kept, or it is undone


@torch.no_grad()
def record() -> dict[str, Any]:
    """Run one layer on one sequence."""
    import hstu

    torch.manual_seed(0)
    layer = hstu.SequentialTransductionUnitJagged(
        embedding_dim=WIDTH,
        linear_hidden_dim=HEAD,
        attention_dim=HEAD,
        dropout_ratio=0.0,
        attn_dropout_ratio=0.0,
        num_heads=HEADS,
        linear_activation="silu",
        relative_attention_bias_module=hstu.RelativePositionalBias(LENGTH),
    ).double()
    for parameter in layer.parameters():
        parameter.copy_(torch.randn_like(parameter) * 2)
    layer._uvqk[:, HEADS * HEAD : 2 * HEADS * HEAD] *= (
        1000  # large values, beside which the epsilon of the norm is none
    )
    x = torch.randn(LENGTH, WIDTH, dtype=torch.float64)
    given = torch.tensor([0, LENGTH]), torch.zeros(1, LENGTH), torch.ones(LENGTH, LENGTH).tril().double()
    y: Tensor = layer(x, *given)[0]
    weights = {name: parameter.tolist() for name, parameter in layer.named_parameters()}
    return {"heads": HEADS, "x": x.tolist(), "y": y.tolist(), "weights": weights}


if __name__ == "__main__":
    stand_in()
    found = json.dumps(record())
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(found)
