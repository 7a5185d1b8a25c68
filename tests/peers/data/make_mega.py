"""Writes mega.json: averages of the original Mega, as numbers to compare with.

Run in a folder that holds fairseq/modules/exponential_moving_average.py of github.com/facebookresearch/mega at commit
aeaa4b44592cd1d60a9a34554e359eda2a62b03b, the last of its branch main, two empty ``__init__.py``, and a
fairseq/incremental_decoding_utils.py whose ``with_incremental_state`` gives the class back:
python make_mega.py mega.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from fairseq.modules.exponential_moving_average import MultiHeadEMA
from torch import Tensor

CHANNELS, AVERAGES, LENGTH = 3, 4, 9


@torch.no_grad()
def record(bidirectional: bool, equal: bool) -> dict[str, Any]:
    """The kernel by impulses at each place, and an output, as the module gives them before its silu and skip.

    ``equal``: both directions have the same weights.
    """
    ema = MultiHeadEMA(CHANNELS, ndim=AVERAGES, bidirectional=bidirectional)
    for parameter in ema.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
        if equal and len(parameter) == 2 * CHANNELS:
            parameter[CHANNELS:] = parameter[:CHANNELS]
    ema.omega.zero_()
    shape = (2 if bidirectional else 1, CHANNELS, AVERAGES)
    # the module's silu is undone by giving it to its caller as it is
    torch.nn.functional.silu = lambda x: x
    impulses = torch.zeros(LENGTH, LENGTH, CHANNELS)
    impulses[range(LENGTH), range(LENGTH)] = 1.0
    x = torch.randn(LENGTH, 2, CHANNELS)
    return {
        "alpha": ema.delta.reshape(shape).tolist(),  # what the input is scaled with stands in their delta
        "delta": ema.alpha.reshape(shape).tolist(),
        "beta": ema.beta.reshape(shape).tolist(),
        "eta": (ema.gamma * ema.scale).reshape(shape).tolist(),
        "responses": _batch_first(ema(impulses)),
        "x": _batch_first(x),
        "y": _batch_first(ema(x)),
    }


def _batch_first(x: Tensor) -> list[Any]:
    return x.transpose(0, 1).tolist()


if __name__ == "__main__":
    torch.manual_seed(0)
    records = {
        "commit": "aeaa4b44592cd1d60a9a34554e359eda2a62b03b",
        "causal": record(False, False),
        "bidirectional": record(True, False),
        "bidirectional_equal": record(True, True),
    }
    with open(sys.argv[1], "w") as file:
        json.dump(records, file)
