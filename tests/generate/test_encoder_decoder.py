"""An encoder-decoder learns to turn a source around, and generates from it."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from anyformer.generate import generate
from anyformer.models import EncoderDecoder, load_spec

START, WORDS, LENGTH = 8, 8, 5


def test_learns_to_reverse() -> None:
    torch.manual_seed(0)
    spec = load_spec("encoder_decoder dim=32 depth=1 residual=pre")
    model = EncoderDecoder(spec.model_dump(), vocab_size=WORDS + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        source = torch.randint(0, WORDS, (32, LENGTH), generator=generator)
        answer = source.flip(1)
        shifted = torch.cat([torch.full((32, 1), START), answer[:, :-1]], 1)
        loss = cross_entropy(model(source, shifted).flatten(0, 1), answer.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    source = torch.randint(0, WORDS, (64, LENGTH), generator=generator)
    with torch.no_grad():
        context = model.encode(source)
    out = generate(model, torch.full((64, 1), START), LENGTH, context=context, temperature=0)
    assert (out == source.flip(1)).float().mean() > 0.9
