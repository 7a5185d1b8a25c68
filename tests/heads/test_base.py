"""Heads by name, of users too, and wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyformer.models import create_model
from anyformer.objectives import Classify

CODE = '''
from anyformer.heads.linear import LinearHead


class Doubled(LinearHead):
    """Twice the objective's loss."""

    class Options(LinearHead.Options):
        factor: float = 2.0

    def loss(self, outputs, targets, objective):
        return self.options.factor * objective.loss(outputs, targets)


class NoHead:
    pass
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def test_a_head_of_the_users_own(file: Path) -> None:
    x, targets, losses = torch.randint(5, (4, 6)), torch.randint(3, (4,)), []
    for head in ("linear", f"{file}:Doubled", f"{file}:Doubled(factor=3)"):
        torch.manual_seed(0)
        model = create_model(f"mamba dim=8 head={head}", vocab_size=5, num_outputs=3, pool="mean")
        losses.append(model.loss(x, targets, Classify(3)).item())
    assert losses == pytest.approx([losses[0], 2 * losses[0], 3 * losses[0]])


def test_wrong_heads(file: Path) -> None:
    for head, said in {
        "crff": "unknown head 'crff'; did you mean 'crf'",
        "linear(wide=3)": "head 'linear' has no option 'wide'",
        "linear(dim=3)": "head 'linear' has no option 'dim'",
        f"{file}:NoHead": "must be a subclass of anyformer.heads.Head",
        "crf([mamba])": r"head: expected crf with options only, got crf\(\[mamba\]\)",
    }.items():
        with pytest.raises(ValueError, match=said):
            create_model(f"mamba dim=8 head={head}", vocab_size=5)
