from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call, after_step
from anyformer.mixers import create_mixer


def test_the_codebook_follows_its_keys() -> None:
    """Two steps of the running means, by hand; a masked token is nearest to nothing."""
    mixer = create_mixer("longvq", 8, num_averages=2, num_codes=3, decay=0.5).train()
    x, mask = torch.randn(2, 12, 8), torch.arange(12) < torch.tensor([[12], [5]])
    seen: list[torch.Tensor] = []
    look = mixer._codes
    mixer._codes = lambda k, inputs: (seen.append(k), look(k, inputs))[1]
    counts, sums = torch.ones(3), mixer.codebook.clone()
    for _ in range(2):
        entries, call = mixer.codebook.clone(), Call()
        mixer(x, mask=mask, call=call)
        k = seen[-1][:, 0].detach()[mask]
        nearest = torch.cdist(k, entries).argmin(1)
        counts = (counts + torch.bincount(nearest, minlength=3)) / 2
        sums = (sums + torch.stack([k[nearest == j].sum(0) for j in range(3)])) / 2
        expected = ((k - entries[nearest]) ** 2).mean()
        torch.testing.assert_close(call.losses["commitment"], expected)
        after_step([mixer], call, 0.5)
        torch.testing.assert_close(mixer.codebook, sums / counts[:, None], rtol=1e-3, atol=1e-3)


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_codes must be at least 1, got 0"):
        create_mixer("longvq", 8, num_codes=0)
    with pytest.raises(ValueError, match="decay must be at least 0 and below 1, got 1.0"):
        create_mixer("longvq", 8, decay=1.0)
