"""Vectors of n-grams against a loop over them; and in a model, which gives its tokens by itself."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from torch import Tensor

from anyformer.contract import Call
from anyformer.mixers import create_mixer
from anyformer.mixers.convolution.ngram_memory import NGramMemory
from anyformer.models import create_model, load_spec
from anyformer.models.size import count_parameters, looked_up, match_parameters
from anyformer.schema import Stream
from anyformer.train.trainer import TrainConfig, parameter_groups


def memory(**options: object) -> NGramMemory:
    mixer = create_mixer("ngram_memory", 8, **options).double().eval()
    assert isinstance(mixer, NGramMemory)
    torch.nn.init.normal_(mixer.table)
    return mixer


def definition(mixer: NGramMemory, x: Tensor, tokens: Tensor) -> Tensor:
    """The sum over n-grams, one after another, each hashed from its newest token on."""
    rows, y = mixer.options.rows, torch.zeros_like(x)
    for b, row in enumerate(tokens.tolist()):
        for t in range(len(row)):
            code = 0
            for n in range(1, mixer.options.longest + 1):
                code = (code * 259_313 + (row[t - n + 1] + 1 if t >= n - 1 else 0)) % (2**31 - 1)
                if n in mixer.orders:
                    table = mixer.table[(n - mixer.options.shortest) * rows :]
                    y[b, t] += table[code * 48_271 % (2**31 - 1) % rows]
    return 2 * torch.sigmoid(x @ mixer.gate.weight.T) * y


@pytest.mark.parametrize("shortest, longest", [(2, 6), (1, 1), (3, 4)])
def test_formula(shortest: int, longest: int) -> None:
    mixer = memory(shortest=shortest, longest=longest, rows=50)
    x, tokens = torch.randn(2, 9, 8, dtype=torch.float64), torch.randint(256, (2, 9))
    torch.testing.assert_close(
        mixer(x, call=Call(side={"tokens": tokens})), definition(mixer, x, tokens), atol=1e-12, rtol=0
    )


def test_fresh_tables_add_nothing_and_learn() -> None:
    mixer = create_mixer("ngram_memory", 8, rows=50)
    y = mixer(torch.randn(2, 9, 8), call=Call(side={"tokens": torch.randint(256, (2, 9))}))
    assert not y.any()
    y.sum().backward()
    assert isinstance(mixer, NGramMemory) and mixer.table.grad is not None and mixer.table.grad.any()


def test_n_grams_are_told_apart_by_the_order_of_their_tokens() -> None:
    """Of all trigrams of 30 tokens, few share a row of 2^20: as many as chance lets."""
    mixer = memory(shortest=3, longest=3, rows=2**20)
    grid = torch.cartesian_prod(*[torch.arange(30)] * 3) + 1
    found: defaultdict[int, int] = defaultdict(int)
    for place in mixer.places(grid, 1).flatten().tolist():
        found[place] += 1
    assert len(found) > 26_400  # of 27,000; by chance 26,655


def test_dropout_leaves_the_mean() -> None:
    mixer = memory(shortest=2, longest=2, rows=4, dropout=0.5).train()
    torch.nn.init.ones_(mixer.table)
    torch.nn.init.zeros_(mixer.gate.weight)
    y = mixer(torch.zeros(1, 4000, 8).double(), call=Call(side={"tokens": torch.zeros(1, 4000).long()}))
    assert set(y.unique().tolist()) == {0.0, 2.0} and abs(float(y.mean()) - 1) < 0.1


def test_a_model_of_tokens_tells_its_mixers_the_tokens() -> None:
    model = create_model("[ngram_memory(channel=none), attention]", vocab_size=9, dim=8).double().eval()
    mixer = model.body.stack.mixers[0]
    assert isinstance(mixer, NGramMemory)
    torch.nn.init.normal_(mixer.table)
    x = torch.randint(9, (2, 11))
    y, other = model(x), x.clone()
    other[:, 0] = (x[:, 0] + 1) % 9
    assert not torch.allclose(model(other)[:, 3], y[:, 3])
    state, parts = model.init_state(2), []
    for piece in x.split([1, 4, 6], 1):
        part, state = model.stream(piece, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), y)


def test_n_grams_reach_back_into_the_source() -> None:
    sizes = {"vocab_size": 9, "dim": 8}
    line = "[ngram_memory(channel=none), none] positions=none"
    model = create_model(line, source={"vocab_size": 9}, **sizes).double().eval()
    alone = create_model(line, **sizes).double().eval()
    torch.nn.init.normal_(model.body.stack.mixers[0].table)
    alone.load_state_dict(model.state_dict(), strict=False)  # the source has the same table of tokens
    source, x = torch.randint(9, (2, 5)), torch.randint(9, (2, 7))
    whole = alone(torch.cat([source, x], 1))[:, 5:]
    torch.testing.assert_close(model(x, source=Stream(source)), whole)
    first, state = model.start(x[:, :3], source=Stream(source))
    rest, _ = model.stream(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)


def test_other_data_has_no_n_grams() -> None:
    model = create_model("[ngram_memory]", num_features=2, num_outputs=3, dim=8)
    with pytest.raises(ValueError, match="call.side must have 'tokens'"):
        model(torch.randn(1, 4, 2))


def test_tables_are_not_counted_in_a_matched_size() -> None:
    spec = match_parameters(load_spec("[ngram_memory(rows=512), attention]"), 40_000, vocab_size=256)
    model = create_model(spec, vocab_size=256)
    assert looked_up(model) == 5 * 512 * spec.dim
    assert model.num_parameters() - looked_up(model) == count_parameters(spec, vocab_size=256)
    assert abs(count_parameters(spec, vocab_size=256) / 40_000 - 1) <= 0.02


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shortest": 0}, "shortest must be from 1 to longest=6, the lengths of n-grams, got 0"),
        ({"shortest": 3, "longest": 2}, "shortest must be from 1 to longest=2"),
        ({"rows": 0}, "rows must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"causal": False}, "causal=False is not possible for ngram_memory: it reads the n-grams that end"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("ngram_memory", 8, **options)


def test_tables_decay_faster() -> None:
    model = create_model("[ngram_memory(rows=16), attention]", vocab_size=9, dim=8)
    groups = parameter_groups(model, TrainConfig(weight_decay=0.1))
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    mixer = model.body.stack.mixers[0]
    assert isinstance(mixer, NGramMemory)
    assert decays[id(mixer.table)] == pytest.approx(1.0) and decays[id(mixer.gate.weight)] == 0.1
