"""Images as a task: equal ones together, pixels standardised by the training part, known answers, and a round trip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.compare import compare
from anyformer.compare.run.costs import bare_trainer, measure
from anyformer.errors import DataError
from anyformer.images.form import ImageForm
from anyformer.mixers import forms
from anyformer.models import create_model
from anyformer.tasks import create_task, open_data
from anyformer.tasks.images import ImageTask, moved
from anyformer.train import Fit, load_bundle, model_for
from anyformer.train.models import spec_for

GREY = ImageForm(size=(8, 8), channels=1)
STROKES = ("flat", "rising", "falling", "upright")


def stroke(direction: int, rng: np.random.Generator, side: int = 12, noise: float = 20) -> np.ndarray:
    """A bright line in one of four directions through a random place of a noisy image, uint8."""
    rows, columns = np.mgrid[:side, :side] - rng.integers(side // 4, 3 * side // 4, 2)[:, None, None]
    across = (rows, rows + columns, rows - columns, columns)[direction]
    along = (columns, rows - columns, rows + columns, rows)[direction]
    line = (np.abs(across) <= 0.8) & (np.abs(along) <= side / 3)
    return np.clip(60 + 150 * line + noise * rng.standard_normal((side, side)), 0, 255).astype(np.uint8)


def write_strokes(folder: Path, count: int = 400) -> Path:
    rng = np.random.default_rng(0)
    for place in range(count):
        name = STROKES[place % 4]
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(stroke(place % 4, rng)).save(folder / name / f"{place:04}.png")
    return folder


def write_digits(folder: Path, count: int = 400) -> Path:
    from sklearn.datasets import load_digits

    data = load_digits()
    for place, (image, digit) in enumerate(zip(data.images[:count], data.target[:count])):
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).round().astype(np.uint8)).save(
            folder / str(digit) / f"{place:04}.png"
        )
    return folder


def task(pixels: np.ndarray | None = None, y: np.ndarray | None = None, **options: object) -> ImageTask:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8) if pixels is None else pixels
    y = np.arange(len(pixels)) % 2 if y is None else y
    given = {"name": "photos", "form": GREY, "values": ["class"], "classes": ["a", "b"], **options}
    return ImageTask(pixels, y, **given)  # type: ignore[arg-type]


class TestTask:
    def test_pixels_are_standardised_by_the_training_part(self) -> None:
        rng = np.random.default_rng(0)
        colours = rng.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8) // np.array([1, 2, 4], np.uint8)
        colours[..., 2] = 9  # a constant channel stays finite
        made = task(colours, form=ImageForm(size=(8, 8), channels=3))
        train = colours[made._index["train"]].astype(np.float64)
        assert made.encoding.mean == pytest.approx(train.mean((0, 1, 2)))
        assert made.encoding.deviation == pytest.approx([*train.std((0, 1, 2))[:2], 1])
        batch = made.sample("test", 1000)
        expected = (colours[made._index["test"]] - made.encoding.mean) / made.encoding.deviation
        torch.testing.assert_close(batch.inputs["pixels"], torch.tensor(expected, dtype=torch.float32))
        assert made.train_length == 16 and json.dumps(made.describe())

    def test_equal_images_are_in_one_split_and_one_cluster(self) -> None:
        rng = np.random.default_rng(1)
        pixels = rng.integers(0, 256, (30, 8, 8, 1)).astype(np.uint8).repeat(3, 0)
        made = task(pixels, np.arange(90) // 3 % 2)
        for split in ("train", "valid", "test"):
            rows = made._index[split]
            assert (np.bincount(rows // 3, minlength=30) % 3 == 0).all()
            assert len(set(made.clusters(split))) == len(rows) / 3
        assert "90 images are equal to others, and in one split with them" in made.notes()
        odd = task(pixels, np.arange(90) % 2)
        assert any(
            "equal to others" in note and "90 of them have different classes" in note for note in odd.notes()
        )

    def test_classes_may_weigh_the_same(self) -> None:
        made = task(y=(np.arange(60) % 4 == 0).astype(np.int64), balanced=True)
        assert made.objective.weights == pytest.approx((42 / 64, 42 / 20), rel=0.2)  # type: ignore[attr-defined]

    def test_groups_stay_together(self) -> None:
        groups = np.arange(60) // 4
        made = task(groups=groups)
        parts = [set(groups[made._index[split]]) for split in ("train", "valid", "test")]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert len(set(made.clusters("test"))) == len(parts[2])

    def test_numbers(self) -> None:
        y = np.random.default_rng(0).normal(50, 9, (60, 2))
        made = task(y=y, classes=None, values=["age", "weight"])
        batch = made.sample("test", 1000)
        assert made.metric.name == "MAE" and np.allclose(
            batch.in_units(batch.targets), y[made._index["test"]]
        )
        assert made.title == "Predict age, weight of each image."

    @pytest.mark.parametrize(
        "change, message",
        [
            ({"crop": 9}, r"crop must be an integer in 0\.\.8, got 9"),
            ({"classes": ["a"]}, "photos: the target has only one value, 'a': nothing to learn"),
            (
                {"pixels": np.zeros((19, 8, 8, 1), np.uint8)},
                "photos: 19 labelled images are too few; at least 20",
            ),
            ({"pixels": np.zeros((40, 8, 8, 1), np.uint8)}, "photos: only 1 different samples: too few"),
        ],
    )
    def test_wrong_data(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            task(**change)


class TestAugmentation:
    def test_it_is_a_function_of_seed_and_step_in_training_alone(self) -> None:
        plain, one, again = task(), task(flip=True, crop=2), task(flip=True, crop=2)
        for step in (0, 3):
            batch, same = one.train_batch(step, 16), again.train_batch(step, 16)
            assert torch.equal(batch.inputs["pixels"], same.inputs["pixels"])
            assert torch.equal(batch.targets, plain.train_batch(step, 16).targets)
            assert not torch.equal(batch.inputs["pixels"], plain.train_batch(step, 16).inputs["pixels"])
        assert torch.equal(one.sample("test", 9).inputs["pixels"], plain.sample("test", 9).inputs["pixels"])
        assert torch.equal(one.train_sample(9).inputs["pixels"], plain.train_sample(9).inputs["pixels"])
        first = one.train_batch(0, 42).inputs["pixels"]
        assert not torch.equal(first, one.train_batch(1, 42).inputs["pixels"])

    def test_images_are_mirrored_and_shifted(self) -> None:
        x = torch.arange(4 * 5 * 6.0).reshape(4, 5, 6, 1) + 1
        mirrored = moved(x, np.random.default_rng(0), True, 0)
        kept = [torch.equal(new, old) for new, old in zip(mirrored, x)]
        turned = [torch.equal(new, old.flip(1)) for new, old in zip(mirrored, x)]
        assert [a != b for a, b in zip(kept, turned)] == [True] * 4 and any(kept) and any(turned)
        for new, old in zip(moved(x, np.random.default_rng(0), False, 2), x):
            there = [
                torch.equal(
                    new, torch.nn.functional.pad(old, (0, 0, 2, 2, 2, 2))[row : row + 5, column : column + 6]
                )
                for row in range(5)
                for column in range(5)
            ]
            assert sum(there) == 1


MIXERS = [
    *(
        "attention",
        "neighborhood_attention(window=3)",
        "nystromformer(num_landmarks=4)",
        "linear_attention",
        "retention",
    ),
    *(
        "mamba",
        "s4",
        "hydra",
        "lstm",
        "hyena_nd(max_length=16)",
        "pooling",
        "delta_net",
        "axial(axis=0)",
        "mamba2",
    ),
]


class TestModels:
    @pytest.mark.parametrize("mixer", MIXERS)
    def test_mixers_of_all_families_learn_from_images(self, mixer: str) -> None:
        made = task()
        for spec in (f"[{mixer}] dim=16", f"[{mixer}] dim=16 causal=true"):
            if "causal" in spec and True not in forms(mixer.partition("(")[0]):
                with pytest.raises(ValueError, match="causal"):
                    model_for(made, spec)
                continue
            model = model_for(made, spec)
            batch = made.train_batch(0, 8)
            loss = made.objective.loss(model(batch.inputs), batch.targets)
            loss.backward()
            assert torch.isfinite(loss) and all(
                p.grad is not None for p in model.parameters() if p.requires_grad
            )

    def test_models_see_images_whole_unless_their_specs_say_otherwise(self) -> None:
        made = task()
        assert model_for(made, "[attention] dim=8").body.info.reach == (None, None)
        assert model_for(made, "[attention] dim=8 causal=true").body.info.causal
        assert "flip" in str(model_for(made, "[mamba]*2 dim=8").spec)

    @pytest.mark.parametrize(
        "name", ["dinat", "mamba_nd depth=2", "ifactformer", "sparse_transformer", "axial_transformer"]
    )
    def test_named_models_get_the_columns_of_the_grid(self, name: str) -> None:
        rng = np.random.default_rng(0)
        made = task(
            rng.integers(0, 256, (60, 8, 6, 1)).astype(np.uint8), form=ImageForm(size=(8, 6), channels=1)
        )
        spec = spec_for(made, name, dim=16)
        assert "8" not in str(spec).replace("depth=8", "") and model_for(made, spec).fixed_length == 12
        larger = spec_for(made, f"{name} embed=patches(size=1) dim=16")
        assert model_for(made, larger).fixed_length == 48 and "6" in str(larger)
        with pytest.raises(ValueError, match="grid must be 3, as the tokens form 4x3, or be left out, got 5"):
            model_for(made, f"{name} grid=5 dim=16")

    def test_the_length_is_that_of_the_embedder(self) -> None:
        made = task()
        with pytest.raises(ValueError, match="takes at most 9 tokens, task 'photos' has 16"):
            model_for(made, "[linformer(max_length=9, causal=false)] dim=8")
        small = model_for(made, "[linformer(max_length=9, causal=false)] embed=patches(size=3) dim=8")
        assert small.fixed_length == 9 and small(made.sample("test", 2).inputs).shape == (2, 2)


class TestKnownAnswers:
    def test_a_strokes_direction(self, tmp_path: Path) -> None:
        data = write_strokes(tmp_path / "strokes")
        fit = Fit.start(
            tmp_path / "model", data, "[attention] dim=32", steps=140, batch_size=32, learning_rate=0.01
        )
        fit.run()
        assert fit.test is not None and fit.test >= 0.97

    @pytest.mark.usefixtures("brief_costs")
    def test_digits_through_compare_and_predict(self, tmp_path: Path) -> None:
        data, out = write_digits(tmp_path / "digits", 200), tmp_path / "out"
        settings = {"budget": "8 steps", "parameters": 6000, "batch_size": 8, "workers": 1, "quiet": True}
        found = compare(data, "[pooling] embed=patches(size=4)", out=out, **settings)  # type: ignore[arg-type]
        result = found.results.tasks[0]
        assert [c.status for c in result.candidates] == ["ok"] and found.winner is not None
        assert {r.name for r in result.references} == {"majority", "linear", "nearest neighbour", "gradients"}
        told = load_bundle(found.winner).predict(data / "3").table
        assert list(told)[:2] == ["file", "class"] and list(told)[2:] == [
            f"p({digit})" for digit in range(10)
        ]
        assert list(told["file"]) == sorted(path.name for path in (data / "3").iterdir())
        assert np.allclose(told.filter(like="p(").sum(axis=1), 1, atol=1e-3)

    def test_costs_are_of_an_image_whatever_the_patches(self) -> None:
        made = task()
        costs = {}
        for size in (2, 4):
            model = model_for(made, f"[attention] dim=16 embed=patches(size={size})")
            costs[size] = measure(bare_trainer(made, model, 8), 60)
            assert list(costs[size].prefill_ms) == [16] and not any(
                "not measured" in n for n in costs[size].notes
            )
        small, large = (cost.flops_per_token for cost in costs.values())
        assert small is not None and large is not None and 2 < small / large < 6
        assert (
            "reads a sample as 4 tokens; figures for each token are for each of the task's 16"
            in costs[4].notes
        )
        assert costs[2].notes == ["does not stream: a grid is read whole"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strokes")
    write_strokes(folder / "strokes", 60)
    Fit.start(folder / "model", folder / "strokes", "[attention] dim=8", steps=2, batch_size=8).run()
    return folder


class TestPredictions:
    def test_they_are_those_of_the_tasks_own_batches(self, trained: Path) -> None:
        bundle, made = load_bundle(trained / "model"), open_data(trained / "strokes")
        told = bundle.predict(trained / "strokes").table
        assert list(told["file"])[:2] == ["falling/0002.png", "falling/0006.png"] and len(told) == 60
        with torch.no_grad():
            shares = bundle.model(made._inputs(np.arange(60))).softmax(-1)
        assert np.allclose(told.filter(like="p(").to_numpy(), shares, rtol=1e-3, atol=1e-6)

    def test_a_single_image_a_list_and_a_table(self, trained: Path, tmp_path: Path) -> None:
        bundle = load_bundle(trained / "model")
        whole = bundle.predict(trained / "strokes").table.set_index("file")
        files = [trained / "strokes" / "flat" / "0000.png", trained / "strokes" / "upright" / "0003.png"]
        one = bundle.predict(files[0]).table
        assert list(one["file"]) == ["0000.png"] and one["class"][0] == whole["class"]["flat/0000.png"]
        (tmp_path / "list.txt").write_text("\n".join(map(str, files)))
        for data in (tmp_path / "list.txt", files, list(map(str, files))):
            assert list(bundle.predict(data).table["file"]) == [str(file) for file in files]
        frame = pd.DataFrame({"photo": [str(file) for file in files], "age": [3, 4]}, index=[7, 9])
        for data in (frame, tmp_path / "table.csv"):
            frame.to_csv(tmp_path / "table.csv", index=False)
            told = bundle.predict(data).table
            assert list(told)[:2] == ["photo", "class"] and np.allclose(
                told["p(flat)"], whole["p(flat)"][["flat/0000.png", "upright/0003.png"]]
            )

    def test_what_cannot_be_read_is_named(self, trained: Path, tmp_path: Path) -> None:
        bundle = load_bundle(trained / "model")
        Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "good.png")
        (tmp_path / "bad.png").write_text("no image")
        (tmp_path / "notes.txt").touch()
        found = bundle.predict(tmp_path)
        assert list(found.table["file"]) == ["good.png"]
        assert found.remarks == [
            "left out: notes.txt, no images by their names",
            "left out: bad.png, which is no image that can be read",
            "1 of 1 images: colours, which the model reads as grey",
        ]
        with pytest.raises(
            DataError, match=r"no image can be read: bad.png, which is no image that can be read"
        ):
            bundle.predict(tmp_path / "bad.png")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="empty holds no images"):
            bundle.predict(tmp_path / "empty")

    def test_numbers_are_in_the_users_units(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        grey = rng.integers(0, 256, 60)
        for place, value in enumerate(grey):
            Image.new("L", (8, 8), int(value)).save(tmp_path / f"{place}.png")
        frame = pd.DataFrame({"file": [f"{place}.png" for place in range(60)], "light": 1000 + 10 * grey})
        frame.to_csv(tmp_path / "lamps.csv", index=False)
        fit = Fit.start(
            tmp_path / "model", tmp_path / "lamps.csv", "[attention] dim=8", steps=30, batch_size=16
        )
        fit.run()
        told = load_bundle(tmp_path / "model").predict(tmp_path / "lamps.csv").table
        assert list(told) == ["file", "light"] and np.corrcoef(told["light"], frame["light"])[0, 1] > 0.9


def test_a_model_of_images_is_saved_as_one() -> None:
    facts = task().stream
    assert facts is not None
    model = create_model("[attention] dim=8", stream=facts.model_dump(), num_outputs=2, pool="mean")
    assert model.facts == facts and create_task("digits").stream is None


def test_the_example_in_one_command_each(tmp_path: Path) -> None:
    data = Path(__file__).parents[2] / "examples" / "data" / "strokes"
    said = []
    for line in (
        f"train {data} --model [pooling] --steps 2 --flip --crop 1 --out {tmp_path / 'model'}",
        f"predict {tmp_path / 'model'} {data / 'flat'} --out {tmp_path / 'told.csv'}",
    ):
        result = CliRunner().invoke(app, line.split(), env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        said.append(" ".join(result.output.split()))
    assert (
        "200 images, grey, 12 x 12 pixels" in said[0] and "Tell which of 4 classes an image shows." in said[0]
    )
    told = pd.read_csv(tmp_path / "told.csv")
    assert len(told) == 50 and list(told)[:2] == ["file", "class"]
