"""Folders of classes, tables of paths and arrays of images: from what a user has to a task, or one sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anyformer.errors import DataError
from anyformer.tasks import create_task, open_data
from anyformer.tasks.fingerprint import Fingerprint, check_files, check_sample, files_of, sample_of_task
from anyformer.tasks.images import ImageTask
from anyformer.tasks.imagesources import holds_images, names_images, where_is
from anyformer.tasks.readers import reader_of


def save(path: Path, seed: int, shape: tuple[int, ...] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def photos(folder: Path, count: int = 40, names: tuple[str, ...] = ("cat", "dog"), seed: int = 0) -> Path:
    for place in range(count):
        save(folder / names[place % len(names)] / f"{place:03}.png", 1000 * seed + place)
    return folder


def table(folder: Path, **changes: object) -> Path:
    photos(folder / "img")
    files = [path.relative_to(folder).as_posix() for path in sorted((folder / "img").rglob("*.png"))]
    columns = {"path": files, "kind": [file.split("/")[1] for file in files], **changes}
    pd.DataFrame(columns).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


class TestFolders:
    def test_each_folder_is_a_class(self, tmp_path: Path) -> None:
        made = open_data(photos(tmp_path / "photos"))
        assert isinstance(made, ImageTask) and made.classes == ["cat", "dog"] and made.name == "photos"
        assert made.title == "Tell which of 2 classes an image shows."
        assert made.notes() == [
            "each of 2 folders is a class: classification",
            "40 images, grey, 8 x 8 pixels (height x width)",
            "a model reads an image as 4 x 4 patches, row by row, unless its spec says embed=patches(size=...)",
        ]
        batch = made.sample("train", 100)
        classes = [made.classes[label] for label in batch.targets]
        assert classes.count("cat") == 14  # stratified

    def test_options_change_the_form(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos")
        save(folder / "cat" / "wide.png", 7, (8, 16))
        made = create_task(folder, size="6x4", fit="pad", flip=True, crop=1)
        assert isinstance(made, ImageTask) and made.stream is not None and made.stream.size == (6, 4)
        assert made.flip and made.crop == 1 and made.encoding.form.fit == "pad"

    def test_what_lies_elsewhere_is_said(self, tmp_path: Path) -> None:
        folder = photos(tmp_path / "photos")
        save(folder / "loose.png", 1)
        save(folder / "cat" / "more" / "deep.png", 2)
        (folder / "empty").mkdir()
        (folder / ".cache").mkdir()
        notes = open_data(folder).notes()
        assert notes[:3] == [
            "left out: 1 images that lie in no class's folder (loose.png, ...)",
            "1 images lie in folders below that of their class",
            "left out: the folders 'empty', which hold no images",
        ]

    def test_folders_of_splits(self, tmp_path: Path) -> None:
        folder = tmp_path / "photos"
        for seed, (name, count) in enumerate({"train": 40, "Val": 12, "test": 10}.items()):
            photos(folder / name, count, seed=seed)
        made = open_data(folder)
        assert [made.size(split) for split in ("train", "valid", "test")] == [40, 12, 10]
        assert "the splits are as given: 40 images train, 12 images valid, 10 images test" in made.notes()
        assert made.classes == ["cat", "dog"]  # type: ignore[attr-defined]
        vehicles = photos(tmp_path / "vehicles", names=("train", "test"))  # classes of these names, no splits
        assert open_data(vehicles).classes == ["test", "train"]  # type: ignore[attr-defined]

    def test_wrong_folders(self, tmp_path: Path) -> None:
        for place in range(30):
            save(tmp_path / "flat" / f"{place}.png", place)
        with pytest.raises(
            DataError, match="flat holds images and no folders of them: put those of each class into"
        ):
            open_data(tmp_path / "flat")
        photos(tmp_path / "one", names=("cat",))
        with pytest.raises(DataError, match="one: all images are of one class, 'cat': nothing to learn$"):
            open_data(tmp_path / "one")
        photos(tmp_path / "outer" / "photos")
        with pytest.raises(
            DataError, match="of one class, 'photos': .* the folders in it, give .*outer/photos$"
        ):
            open_data(tmp_path / "outer")
        photos(tmp_path / "few", 10)
        with pytest.raises(DataError, match="few: 10 labelled images are too few"):
            open_data(tmp_path / "few")

    @pytest.mark.parametrize(
        "options, message",
        [
            (
                {"target": "kind"},
                "target does not apply to a folder of images, whose classes are its subfolders",
            ),
            ({"group": "owner"}, "group does not apply to a folder of images"),
            (
                {"size": "big"},
                "size must be the longer side of the images in pixels, or height and width as 48x64",
            ),
            ({"fit": "cover"}, "fit must be 'crop' or 'pad', got 'cover'"),
            ({"fit": "pads"}, "got 'pads'; did you mean 'pad'"),
            ({"crop": 99}, r"crop must be an integer in 0\.\.8, got 99"),
            ({"class_weights": "equal"}, "class_weights must be 'balanced', got 'equal'"),
            ({"horizon": 3}, "horizon does not apply to images .* but to"),
            ({"flipp": True}, "has no option 'flipp'; did you mean flip"),
        ],
    )
    def test_wrong_options(self, tmp_path: Path, options: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            create_task(photos(tmp_path / "photos"), **options)  # type: ignore[arg-type]


class TestTables:
    def test_the_column_of_paths_is_found(self, tmp_path: Path) -> None:
        made = open_data(table(tmp_path, weight=np.arange(40)), "kind")
        assert (
            isinstance(made, ImageTask) and made.classes == ["cat", "dog"] and made.encoding.column == "path"
        )
        assert made.notes()[0] == "left out: 'weight', as the images of 'path' alone are inputs"

    def test_numbers_are_regressed(self, tmp_path: Path) -> None:
        made = open_data(table(tmp_path, weight=np.arange(40) / 7), "weight")
        assert made.metric.name == "MAE" and "regression" in " ".join(made.notes())

    @pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".tsv", ".csv.gz"])
    def test_other_tables(self, tmp_path: Path, suffix: str) -> None:
        frame = pd.read_csv(table(tmp_path))
        file = tmp_path / f"other{suffix}"
        if suffix == ".jsonl":
            file.write_text("\n".join(map(json.dumps, frame.to_dict("records"))))
        elif suffix == ".parquet":
            frame.to_parquet(file)
        elif suffix == ".tsv":
            frame.to_csv(file, index=False, sep="\t")
        else:
            file.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
        made = open_data(file)
        assert isinstance(made, ImageTask) and made.size("train") == 28
        assert "target not given: taken to be 'kind'" in made.notes()

    def test_paths_are_seen_from_the_table_or_from_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(tmp_path / "a" / "x.png", 0)
        assert where_is("x.png", tmp_path / "a") == tmp_path / "a" / "x.png"
        assert where_is(" a\\x.png ", tmp_path) == tmp_path / "a" / "x.png"
        assert where_is(str(tmp_path / "a" / "x.png"), Path("elsewhere")) == tmp_path / "a" / "x.png"
        assert where_is("y.png", tmp_path) == tmp_path / "y.png"
        monkeypatch.chdir(tmp_path / "a")
        assert where_is("x.png", tmp_path / "elsewhere").read_bytes()

    def test_groups_and_splits_are_columns(self, tmp_path: Path) -> None:
        owner = np.arange(40) // 4
        made = open_data(table(tmp_path, owner=owner), "kind", group="owner")
        assert "10 groups of images, each kept in one split" in made.notes()
        assert len(set(made.clusters("test"))) < made.size("test")
        part = np.where(owner < 6, "train", np.where(owner < 8, "val", "test"))
        given = open_data(table(tmp_path, owner=owner, part=part), "kind", group="owner", split="part")
        assert [given.size(split) for split in ("train", "valid", "test")] == [24, 8, 8]
        mixed = np.array(["train", "test"] * 20)
        with pytest.raises(
            DataError, match="split: images of one of the groups by 'owner' are in several splits"
        ):
            open_data(table(tmp_path, owner=owner, part=mixed), "kind", group="owner", split="part")

    def test_rows_without_a_path_or_a_target_are_left_out(self, tmp_path: Path) -> None:
        frame = pd.read_csv(table(tmp_path))
        frame.loc[3, "path"] = None
        frame.loc[[5, 6], "kind"] = None
        frame.to_csv(tmp_path / "labels.csv", index=False)
        notes = " ".join(open_data(tmp_path / "labels.csv", "kind").notes())
        assert "1 rows have no path in 'path' and are left out" in notes
        assert "2 of 39 rows have no target and are left out" in notes and "37 images" in notes

    def test_columns_that_the_user_names(self, tmp_path: Path) -> None:
        frame = pd.read_csv(table(tmp_path))
        both = frame.assign(thumb=frame["path"])
        both.to_csv(tmp_path / "labels.csv", index=False)
        with pytest.raises(
            DataError, match="columns 'path', 'thumb' hold paths of images; image names the column"
        ):
            open_data(tmp_path / "labels.csv", "kind")
        assert open_data(tmp_path / "labels.csv", "kind", image="thumb").encoding.column == "thumb"  # type: ignore[union-attr]
        with pytest.raises(DataError, match="image: .*labels.csv has no column 'pth'; did you mean 'path'"):
            open_data(tmp_path / "labels.csv", "kind", image="pth")
        with pytest.raises(DataError, match="target: .*labels.csv has no column 'sort'"):
            open_data(tmp_path / "labels.csv", "sort", image="path")
        with pytest.raises(ValueError, match="target must name another column than 'path'"):
            open_data(tmp_path / "labels.csv", "path", image="path")
        with pytest.raises(DataError, match="target must name the column to predict, one of 'kind', 'more'"):
            open_data(table(tmp_path, more=1))

    def test_missing_files_are_named(self, tmp_path: Path) -> None:
        file = table(tmp_path)
        (tmp_path / "img" / "cat" / "000.png").unlink()
        assert open_data(file, "kind").notes()[-2] == "left out: img/cat/000.png, which is not there"
        for place in (2, 4):
            (tmp_path / "img" / "cat" / f"{place:03}.png").unlink()
        with pytest.raises(
            DataError, match="labels.csv: 3 images of 40 cannot be read, .*: img/cat/000.png, which is not"
        ):
            open_data(file, "kind")

    def test_an_image_that_changes_is_noticed(self, tmp_path: Path) -> None:
        file = table(tmp_path)
        before = Fingerprint(files=files_of(str(file)), sample=sample_of_task(open_data(file, "kind")))
        assert sample_of_task(open_data(file, "kind")) == before.sample
        save(tmp_path / "img" / "dog" / "017.png", 999)
        check_files("photos", before, files_of(str(file)))
        with pytest.raises(
            DataError, match="gives other samples though .* or files that they name have changed"
        ):
            check_sample("photos", before, open_data(file, "kind"))

    def test_a_class_called_none(self, tmp_path: Path) -> None:
        file = table(tmp_path, kind=["None", "crack"] * 20)
        with pytest.raises(
            DataError, match="nothing to learn; 20 of 40 rows have no target .*missing='' makes them classes"
        ):
            open_data(file, "kind")
        assert open_data(file, "kind", missing="").classes == ["None", "crack"]  # type: ignore[attr-defined]

    def test_tables_without_images_stay_tables(self, tmp_path: Path) -> None:
        file = table(tmp_path, path=[f"http://shop/{place}.png" for place in range(40)], price=np.arange(40))
        assert not names_images(file) and reader_of(file).id == "tables"
        (tmp_path / "broken.parquet").write_bytes(b"PAR1")
        assert not names_images(tmp_path / "broken.parquet") and not names_images(tmp_path / "none.txt")


class TestArrays:
    def save(self, folder: Path, x: np.ndarray, y: object = None) -> Path:
        folder.mkdir(exist_ok=True)
        np.savez(folder / "data.npz", x=x, y=np.arange(len(x)) % 2 if y is None else y)
        return folder / "data.npz"

    def test_four_axes_are_images(self, tmp_path: Path) -> None:
        x = np.random.default_rng(0).integers(0, 256, (40, 8, 6, 3)).astype(np.uint8)
        file = self.save(tmp_path, x)
        made = open_data(file, flip=True)
        assert isinstance(made, ImageTask) and made.stream is not None and made.stream.size == (8, 6)
        assert made.notes()[1] == "40 images, RGB, 8 x 6 pixels (height x width)"
        new = made.encoding.read(file)
        assert np.array_equal(new.batch.inputs["pixels"], made._inputs(np.arange(40))["pixels"])
        other = self.save(tmp_path / "other", x[:, :4])
        with pytest.raises(DataError, match="images x must be 8 x 6 pixels as in training, got 4 x 6"):
            made.encoding.read(other)
        assert (
            made.encoding.read(self.save(tmp_path / "grey", x[..., :1])).batch.inputs["pixels"].shape[-1] == 3
        )

    def test_three_axes_are_sequences(self, tmp_path: Path) -> None:
        x = np.random.default_rng(0).integers(0, 256, (40, 8, 6)).astype(np.uint8)
        file = self.save(tmp_path, x)
        assert not holds_images(file) and not holds_images(tmp_path) and reader_of(file).id == "npz"
        assert any("x[..., None] makes grey images of them" in note for note in open_data(file).notes())

    def test_wrong_arrays(self, tmp_path: Path) -> None:
        wrong = [
            np.zeros((40, 8, 8, 2), np.uint8),
            np.zeros((40, 8, 8, 3)),
            np.zeros((40, 3, 8, 8), np.uint8),
        ]
        for x in wrong:
            with pytest.raises(
                DataError, match=r"images x must be \(N, height, width, channels\) of uint8, with 1"
            ):
                open_data(self.save(tmp_path, x))
        x = np.zeros((40, 8, 8, 1), np.uint8)
        with pytest.raises(DataError, match=r"y must be \(N,\) or \(N, M\) with N = 40 as in x, got \(3,\)"):
            open_data(self.save(tmp_path, x, y=np.arange(3)))
        with pytest.raises(ValueError, match="size does not apply to arrays, whose target is y"):
            open_data(self.save(tmp_path, x), size=4)
