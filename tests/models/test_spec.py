"""Specs: their parts, and what is said when they are wrong."""

from __future__ import annotations

import pytest

from anyformer.models import create_model, load_spec


def test_an_encoder_is_written_as_its_layers_or_with_fields() -> None:
    forms = [
        "[attention]",
        "attention",
        "([attention])",
        {"layers": "attention"},
        {"layers": {"name": "attention"}},
    ]
    assert all(
        load_spec("[mamba]", encoder=form) == load_spec("[mamba] encoder=[attention]") for form in forms
    )
    encoder = load_spec("[mamba] encoder=attention(window=3)").encoder
    assert encoder is not None and [str(part) for part in encoder.layers] == ["attention(window=3)"]
    assert load_spec({"layers": "[mamba]", "encoder": []}) == load_spec("[mamba] encoder=none")


def test_options_of_all_embedders_and_heads_are_left_out_where_they_say_the_default() -> None:
    spec = load_spec("[lstm] embed=default(normed=false, scaled=no) head=linear(tied=false, bias=none)")
    assert spec == load_spec("[lstm]") == load_spec("[lstm] embed=none") and str(spec) == "[lstm]"
    assert load_spec("[lstm] head=linear(bias=false)").head.options == {"bias": False}
    given = load_spec({"layers": "[lstm]", "embed": {"options": {"normed": "yes"}}, "head": {"options": {}}})
    assert str(given) == "[lstm] embed=default(normed=true)"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("transfomer", "unknown model 'transfomer'; did you mean 'transformer'"),
        ("transformer dim=-3", "dim: Input should be greater than or equal to 1, got -3"),
        ("transformer depth=0", "depth must be an integer from 1 to 10,000, got 0"),
        ("transformer dpth=2", "model 'transformer' has no option 'dpth'; did you mean 'depth'"),
        ("[attention", "expected ']', got 'the end'"),
        ("[attention*0]", "expected a count of at least 1 behind '\\*', got '0'"),
        ("[attention] dim", "expected '=', got 'the end'"),
        ("[attention] dim=1 dim=2", "the field 'dim' stands twice"),
        ("[attention] dimm=1", "there is no field 'dimm'; did you mean 'dim'"),
        ("[]", "expected the name of a part, got ']'"),
        ("", "expected the name of a part, got 'the end'"),
        ("[atention]", "unknown part 'atention'; did you mean 'attention'"),
        ("[attention(windw=3)]", "has no option 'windw'; did you mean 'window'"),
        ("[attention([retention])]", "'attention' is not a wrapper, it cannot hold 'retention'"),
        ("[two_level]", "two_level wraps stacks of layers"),
        ("[two_level([attention])]", "wrapper 'two_level' cannot be built around 1 stacks"),
        ("[attention@a, attention@a(window=2)]", "stands in the spec with different options"),
        ("[attention] residual=sideways", "unknown residual 'sideways'"),
        ("[attention] norm=l2", "unknown norm 'l2'"),
        ("[attention] head=linear(tied=3)", "head: linear: tied must be true or false, got 3$"),
        ("[attention] head=linear([attention])", "head: expected linear with options only, got linear"),
        ("[attention] embed=default(rank=3)", "embed: default has no option 'rank' for tokens and numbers"),
        (
            "[attention] encoder=(positions=rope)",
            "encoder: expected the encoder's layers, such as \\[attention\\*2\\]",
        ),
        (
            "[attention] encoder=([lstm], postions=rope)",
            "no field 'encoder.postions'; did you mean 'positions'",
        ),
        (
            "[attention] head=low_rank(tied=true)",
            "head 'low_rank' has no matrix that could be the embedding's",
        ),
        ("[attention(reuses_kv=x)]", "needs an earlier layer with provides_kv='x'"),
        ("no/such/file.yaml", "cannot be read"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(line: str, message: str) -> None:
    import torch

    with pytest.raises(ValueError, match=message):
        create_model(line, vocab_size=5)(torch.zeros(1, 2, dtype=torch.int64))
