"""Identities of State spaces for machine translation, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import no_leak, streams
from anyformer.models import EncoderDecoder, create_model, load_spec, match_parameters
from anyformer.tasks.generated.translation import Translation
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

BACKBONES = {
    "mamba": "[mamba]*2",
    "mamba with attention": "[mamba, attention]",
    "mamba with a window": "[mamba, attention(window=8)]",
    "retnet": "retnet",
    "transformer": "transformer",
}

study = Study(
    task="translation",
    arms={"with attention": BACKBONES["mamba with attention"], "mamba": BACKBONES["mamba"]},
    options={"length": 32, "words": 12, "names": 24, "name_share": 40},
    smallest=0.05,
    steps=350,
    batch_size=16,
    parameters=40_000,
)


@identity("a translation is what its rules say, word by word, and no answer stands before its question")
def rules() -> None:
    task = Translation(length=24)
    batch = task.train_batch(0, 64)
    assert batch.mask is not None
    for x, target, size in zip(
        batch.x.tolist(), batch.targets.tolist(), (batch.mask.sum(1) // 2).tolist(), strict=True
    ):
        source, expected, i = x[:size], [], 0
        while i < size:
            swaps = i + 1 < size and source[i] < 8 <= source[i + 1] < 16
            pair = [source[i + 1], source[i]] if swaps else [source[i]]
            expected += [int(task.dictionary[t]) if t < 16 else t for t in pair]
            i += len(pair)
        assert target[size : 2 * size] == expected
        assert task.vocab_size is not None
        assert x[size] == task.vocab_size - 1 and x[size + 1 : 2 * size] == expected[:-1]
        assert all(t == -100 for t in target[:size] + target[2 * size :])


@identity("every backbone is built to one size, within 2%, and reads the task as it is")
def one_size() -> None:
    task = Translation(length=24)
    batch = task.train_batch(0, 4)
    for name, line in BACKBONES.items():
        spec = match_parameters(load_spec(line), 40_000, vocab_size=task.vocab_size)
        model = create_model(spec, vocab_size=task.vocab_size)
        assert abs(model.num_parameters() / 40_000 - 1) < 0.02, (name, model.num_parameters())
        assert float(task.objective.loss(model(batch.x, batch.mask), batch.targets).detach()) > 0


@identity("decoding token by token behind the source = the pass that training takes, for the hybrid too")
def decoding() -> None:
    task = Translation(length=24)
    x = task.train_batch(0, 2).x[:, :20]
    for line in BACKBONES.values():
        model = create_model(line, vocab_size=task.vocab_size, dim=16).double().eval()
        streams(model, x, [12] + [1] * 8)


@identity("as an encoder-decoder, the target sees the whole source and nothing of itself ahead")
def encoder_decoder() -> None:
    model = EncoderDecoder(load_spec("encoder_decoder", dim=16).model_dump(), vocab_size=40).double().eval()
    source, target = torch.randint(40, (1, 9)), torch.randint(40, (1, 8))
    no_leak(lambda target: model(source, target), target, 5)
    y = model(source, target)
    source[:, 8] = (source[:, 8] + 1) % 40
    assert float((model(source, target) - y)[:, 0].abs().max().detach()) > 1e-6
