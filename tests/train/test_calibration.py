"""Calibrated probabilities: a temperature is found again, saved, and applied to what is predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anyformer.tasks import create_task, open_data
from anyformer.train import Fit, load_bundle, model_for
from anyformer.train.calibration import calibrate, calibration_error, fit_temperature
from anyformer.train.models import outputs_of


def drawn(count: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are too sure by a factor, and classes drawn by what they should say."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    classes = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return temperature * logits, classes


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_temperature_is_found_again(temperature: float) -> None:
    logits, classes = drawn(20_000, temperature)
    found = fit_temperature(logits, classes)
    assert found == pytest.approx(temperature, rel=0.05)
    assert calibration_error(logits / found, classes) < 0.02
    if temperature != 1.0:
        assert calibration_error(logits, classes) > 0.05


def test_all_right_is_not_certain() -> None:
    logits = torch.tensor([[1.0, 0.0]] * 50, dtype=torch.float64)
    sure = (logits / fit_temperature(logits, torch.zeros(50, dtype=torch.int64))).softmax(-1)[0, 0]
    assert 0.97 < sure < 0.995, "about one error in 50 to 100 may still come"


def test_the_calibration_error() -> None:
    logits = torch.tensor([[0.9, 0.1]] * 10, dtype=torch.float64).log()
    classes = torch.tensor([0] * 9 + [1])
    assert calibration_error(logits, classes) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error(logits, 1 - classes) == pytest.approx(0.8)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    folder = tmp_path_factory.mktemp("calibration")
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{z:.3f},{'ab'[int(x + rng.normal() > 0)]}" for x, z in rng.normal(0, 1, (600, 2))]
    (folder / "data.csv").write_text("\n".join(["x,z,label", *rows, ""]))
    made = Fit.start(folder / "out", folder / "data.csv", "retnet dim=16 depth=1", target="label", steps=150)
    made.run()
    return made


def test_predictions_have_the_temperature(fit: Fit) -> None:
    assert fit.calibrated is not None
    bundle = load_bundle(fit.folder)
    assert bundle.facts["temperature"] == fit.calibrated.temperature != 1.0
    task = open_data(fit.folder.parent / "data.csv", "label")
    batch = task.encoding.read(fit.folder.parent / "data.csv").batch  # type: ignore[union-attr]
    with torch.no_grad():
        logits = outputs_of(bundle.model, batch).double()
    table = bundle.predict(fit.folder.parent / "data.csv").table
    expected = (logits / fit.calibrated.temperature).softmax(-1)[:, 1]
    np.testing.assert_allclose(table["p(b)"], expected, atol=1e-4)


def test_where_no_class_is_asked_or_few_are_known(fit: Fit, tmp_path: Path) -> None:
    text = create_task("bytes", length=32, max_bytes=20_000)
    assert calibrate(model_for(text, "retnet dim=16 depth=1"), text, batch_size=8) is None
    rows = "\n".join(f"{i % 7},{'ab'[i % 2]}" for i in range(100))
    (tmp_path / "few.csv").write_text(f"x,label\n{rows}\n")
    few = open_data(tmp_path / "few.csv", "label")
    assert calibrate(model_for(few, "retnet dim=16 depth=1"), few, batch_size=8) is None
