"""Stacks on ever coarser grids."""

from __future__ import annotations

import math

import pytest
import torch

from anyformer.channels.mlp import MLP
from anyformer.contract import Mixer
from anyformer.laws import check_mixer
from anyformer.layers.grid import join_cells, spread
from anyformer.mixers import create_mixer
from anyformer.models import SequenceModel, create_model, load_spec, match_parameters
from anyformer.stack import Stack
from anyformer.wrappers.pyramid import Pyramid


def stages(dim: int, grid: object, widen: int = 2) -> list[Mixer]:
    return [
        create_mixer("depthwise_conv", dim // widen**2, window=3, grid=grid),
        create_mixer("attention", dim // widen, causal=False),
        create_mixer("depthwise_conv", dim, window=3),
    ]


@pytest.mark.parametrize("grid, options", [(5, {}), ("2x3", {"factor": 3, "widen": 1}), (None, {})])
def test_laws(grid: object, options: dict[str, int]) -> None:
    assert check_mixer(lambda: Pyramid(16, *stages(16, grid, options.get("widen", 2)), grid=grid, **options))


@pytest.mark.parametrize("sizes", [(5,), (4, 6), (3, 5), (2, 3, 4)])
def test_a_cell_is_in_its_block(sizes: tuple[int, ...]) -> None:
    x = torch.randn(2, *sizes, 1)
    blocks = join_cells(x, 2)
    assert blocks.shape == (2, *(math.ceil(n / 2) for n in sizes), 2 ** len(sizes))
    assert bool((spread(blocks, 2, sizes) == x).any(-1).all())


def test_blocks_by_hand() -> None:
    """Of three rows of four cells, each block of the next grid holds four, or two at the end."""
    blocks = join_cells(torch.arange(12.0).view(1, 3, 4, 1), 2)
    assert blocks[0].flatten(0, 1).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 0, 0], [10, 11, 0, 0]]


class Nothing(Stack):
    """Layers that change nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, [], norm="none")


def test_all_stages_by_hand() -> None:
    """With means of blocks for the maps, y = x + the mean of its block + that of the block's block."""
    mixer = Pyramid(1, *(Nothing(1) for _ in range(3)), grid=4, widen=1)
    with torch.no_grad():
        for linear, weight in [
            (mixer.into, 1),
            *((m, 0.25) for m in mixer.join),
            *((m, 1) for m in mixer.out),
        ]:
            linear.weight.fill_(weight)
            linear.bias.zero_()
    x = torch.randn(1, 16, 1)
    cells = x.view(4, 4)
    block = cells.view(2, 2, 2, 2).mean((1, 3)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(mixer(x).view(4, 4), cells + block + x.mean())


def image_model(line: str, size: tuple[int, int] = (9, 7), **changes: object) -> SequenceModel:
    stream = {"shape": "grid", "size": size, "fields": [{"name": "pixels", "width": 1}]}
    return create_model(line, stream=stream, num_outputs=3, pool="mean", **changes)


def test_stages_of_a_spec_are_wider_and_on_coarser_grids() -> None:
    line = "[pyramid([depthwise_conv], [depthwise_conv(channel=none)], [neighborhood_attention(window=3)])]"
    model = image_model(
        line, dim=32, causal=False, positions="none", channel="mlp(hidden_dim=40)", embed="patches(size=1)"
    )
    wrapper = model.body.stack.mixers[0]
    assert [stage.dim for stage in wrapper.stages] == [8, 16, 32]
    assert [stage.mixers[0].sizes for stage in wrapper.stages] == [(7,), (4,), (2,)]
    hidden = [m.up.out_features for m in model.modules() if isinstance(m, MLP)]
    assert hidden == [10, 40]  # the solved width is the model's, which the last stage has
    assert model({"pixels": torch.randn(2, 9, 7, 1)}).shape == (2, 3)


def test_sizes_are_matched() -> None:
    stream = {"shape": "grid", "size": (8, 8), "fields": [{"name": "pixels", "width": 1}]}
    given = {"stream": stream, "num_outputs": 10, "pool": "mean"}
    spec = match_parameters(load_spec("pyramid"), 40_000, **given)
    assert abs(SequenceModel(spec.model_dump(), **given).num_parameters() / 40_000 - 1) <= 0.02


def test_refused() -> None:
    with pytest.raises(
        ValueError, match=r"pyramid needs two or more stages, such as pyramid\(\[a\], \[b\]\), got 1"
    ):
        Pyramid(4, Nothing(4))
    with pytest.raises(ValueError, match="factor must be at least 2, got 1"):
        Pyramid(4, Nothing(2), Nothing(4), factor=1)
    with pytest.raises(ValueError, match="stage 1 must have width 2, got 4"):
        Pyramid(4, Nothing(4), Nothing(4))
    with pytest.raises(ValueError, match="dim must be divisible by 4 for a pyramid of 3 stages, got 6"):
        create_model("pyramid", vocab_size=3, dim=6)
    with pytest.raises(ValueError, match="stages must be at least 2, got 1"):
        load_spec("pyramid stages=1")
    limited = Pyramid(
        8, Nothing(4), create_mixer("linformer", 8, max_length=8, proj_len=2, causal=False), grid=4
    )
    with pytest.raises(ValueError, match="at most 32 tokens"):
        limited(torch.zeros(1, 36, 8))
