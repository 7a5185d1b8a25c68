"""What the base class does for every mixer: checks, alignment, packing, states."""

from __future__ import annotations

import pytest
import torch

from anyformer import Context, create_mixer
from anyformer.inputs import Layout
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.state import detach, leaves, map_state, select_rows, state_bytes, where_rows


def test_alignment_puts_real_tokens_first_and_back() -> None:
    x = torch.arange(1.0, 11.0).reshape(2, 5, 1)
    mask = torch.tensor([[False, True, False, True, True], [True, False, False, False, False]])
    layout = Layout.of(x, mask)
    aligned = layout.align(x)
    assert aligned[..., 0].tolist() == [[2, 4, 5, 0, 0], [6, 0, 0, 0, 0]]
    assert torch.equal(layout.restore(aligned), x * mask[..., None])


def test_packed_sequences_get_rows_of_their_own() -> None:
    x = torch.arange(1.0, 7.0).reshape(1, 6, 1)
    layout = Layout.of(x, torch.tensor([[2, 2, 0, 1, 2, 1]]))
    aligned = layout.align(x)
    assert aligned[..., 0].tolist() == [[4, 6, 0], [1, 2, 5]]
    assert layout.restore(aligned)[0, :, 0].tolist() == [1, 2, 0, 4, 5, 6]


def test_a_batch_of_nothing_but_padding() -> None:
    mixer = create_mixer("retention", 8)
    x = torch.randn(2, 4, 8)
    assert torch.equal(mixer(x, mask=torch.zeros(2, 4, dtype=torch.bool)), torch.zeros(2, 4, 8))
    assert torch.equal(mixer(x, mask=torch.zeros(2, 4, dtype=torch.int64)), torch.zeros(2, 4, 8))
    assert mixer(x[:, :0]).shape == (2, 0, 8)


def test_packed_context_is_matched_by_id() -> None:
    mixer = create_mixer("cross_attention", 8).eval()
    x, keys = torch.randn(1, 4, 8), torch.randn(1, 5, 8)
    ids, key_ids = torch.tensor([[1, 1, 2, 2]]), torch.tensor([[2, 1, 1, 2, 0]])
    y = mixer(x, mask=ids, context=Context(keys, key_ids))
    for n in (1, 2):
        alone = mixer(x[:, ids[0] == n], context=Context(keys[:, key_ids[0] == n]))
        torch.testing.assert_close(y[:, ids[0] == n], alone)


def test_explicit_positions_replace_the_numbers_of_tokens() -> None:
    mixer = create_mixer("attention", 8).eval()
    x = torch.randn(1, 4, 8)
    positions = torch.arange(4.0)[None]
    torch.testing.assert_close(mixer(x, positions=positions), mixer(x))
    torch.testing.assert_close(mixer(x, positions=positions + 7), mixer(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixer(x, positions=positions * 9), mixer(x), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("atention", {}, "unknown mixer 'atention'; did you mean 'attention'"),
        ("attention", {"windw": 3}, "mixer 'attention' has no option 'windw'; did you mean 'window'"),
        ("attention", {"num_heads": 3}, "num_heads must divide dim=8"),
        ("attention", {"num_kv_heads": 3}, "num_kv_heads must divide num_heads=4, got 3"),
        ("retention", {"causal": False}, "causal=False is not possible for retention"),
        ("attention", {"positions": "rop"}, "unknown position 'rop'; did you mean 'rope'"),
    ],
)
def test_errors_name_what_is_wrong(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer(name, 8, **options)


def test_errors_while_streaming() -> None:
    mixer = create_mixer("attention", 8)
    with pytest.raises(ValueError, match="mask must be bool while streaming"):
        mixer.stream(torch.randn(1, 2, 8), mixer.init_state(1), mask=torch.ones(1, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="state must come from init_state"):
        mixer.stream(torch.randn(1, 2, 8), [])
    with pytest.raises(ValueError, match="context was given, but attention takes none"):
        mixer(torch.randn(1, 2, 8), context=Context(torch.randn(1, 2, 8)))
    cross = create_mixer("cross_attention", 8)
    with pytest.raises(ValueError, match="context must be given with the first tokens"):
        cross.stream(torch.randn(1, 2, 8), cross.init_state(1))


def test_states_are_pytrees() -> None:
    state = {"a": torch.ones(2, 3), "b": [torch.zeros(2), (torch.ones(2, 1),)]}
    assert state_bytes(state) == 4 * (6 + 2 + 2)
    assert len(leaves(state)) == 3
    picked = select_rows(state, torch.tensor([1, 1, 0]))
    assert picked["a"].shape == (3, 3)
    assert isinstance(picked["b"][1], tuple)
    tracked = map_state(lambda t: t.clone().requires_grad_(), state)
    assert not any(t.requires_grad for t in leaves(detach(tracked)))
    with pytest.raises(ValueError, match="got str"):
        map_state(lambda t: t, {"a": "text"})


def test_where_rows_pads_the_shorter_cache_in_front() -> None:
    short, long = {"k": torch.ones(2, 1, 3)}, {"k": torch.full((2, 4, 3), 2.0)}
    picked = where_rows(torch.tensor([True, False]), short, long)["k"]
    assert picked[0, :, 0].tolist() == [0, 0, 0, 1]
    assert picked[1, :, 0].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("part", ["attention", "mamba"])
def test_a_trace_is_refused_in_words(part: str) -> None:
    mixer = create_mixer(part, 8).eval()
    with pytest.raises(ValueError, match=r"torch\.jit\.trace .* use torch\.compile or torch\.export"):
        torch.jit.trace(mixer, torch.randn(1, 5, 8), check_trace=False)


def test_a_layer_is_traced_without_kernels() -> None:
    """A kernel would read sizes, which are tensors there, as addresses, and end the process."""
    norm, x = RMSNorm(8), torch.randn(2, 5, 8)
    torch.testing.assert_close(torch.jit.trace(norm, x)(2 * x), norm(2 * x))
