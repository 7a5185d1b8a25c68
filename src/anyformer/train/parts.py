"""The loss of a step in parts, where a model has so many outputs that they should not all exist at once."""

from __future__ import annotations

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anyformer.contract import Call
from anyformer.models import SequenceModel
from anyformer.objectives import Objective
from anyformer.precision import widen
from anyformer.tasks import Batch
from anyformer.train.models import hidden_of

MOST = 2**25
"""The most outputs at once."""


def loss_by_parts(
    model: SequenceModel, batch: Batch, objective: Objective, call: Call, most: int = MOST
) -> Tensor:
    """Return the mean loss over the elements that are asked, from their outputs alone.

    Outputs beyond ``most`` are made by part, and again in the backward pass.
    """
    asked = batch.asked
    assert asked is not None
    h, targets = hidden_of(model, batch, call)[asked], batch.targets[asked]
    beside = model.beside(batch.inputs, batch.mask, following=batch.targets)
    beside = {name: value[asked] for name, value in beside.items()}
    rows = max(1, most // objective.num_outputs)

    def total(here: slice) -> Tensor:
        outputs = model.head(h[here], **{name: value[here] for name, value in beside.items()})
        return model.head.loss(widen(outputs), targets[here], objective) * len(targets[here])

    if len(targets) <= rows:
        return total(slice(None)) / max(1, len(targets))
    parts = [
        checkpoint(total, slice(start, start + rows), use_reentrant=False)
        for start in range(0, len(targets), rows)
    ]
    return sum(parts[1:], parts[0]) / len(targets)
