"""One size, one number of channels and one depth for all images of a data set, and a word on each decision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anyformer.errors import DataError
from anyformer.images.form import ImageForm, fitted_size, grey_of, load_again, load_fitting, read_size


def write(folder: Path, *arrays: np.ndarray) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for place, pixels in enumerate(arrays):
        Image.fromarray(pixels).save(folder / f"{place}.png")
    return [folder / f"{place}.png" for place in range(len(arrays))]


def noise(*shape: int, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def load(paths: list[Path], **options: object):
    options = {"size": None, "fit": "crop", **options}
    return load_fitting(paths, [path.name for path in paths], "photos", **options)  # type: ignore[arg-type]


class TestSize:
    def test_it_is_the_median_and_at_most_64(self) -> None:
        assert fitted_size([(28, 28)] * 3) == (28, 28)
        assert fitted_size([(10, 20), (30, 20), (12, 500)]) == (12, 20)
        assert fitted_size([(480, 640)] * 3) == (48, 64)
        assert fitted_size([(5, 4000)]) == (1, 64)
        assert fitted_size([(480, 640)], 32) == (24, 32)
        assert fitted_size([(8, 8)], 32) == (32, 32)

    @given(
        st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1),
        st.integers(1, 512) | st.none(),
    )
    def test_its_longer_side_is_what_was_asked_for(
        self, sizes: list[tuple[int, int]], longer: int | None
    ) -> None:
        size = fitted_size(sizes, longer)
        assert min(size) >= 1 and max(size) <= (longer or 64)
        assert longer is None or max(size) == longer

    def test_as_an_option(self) -> None:
        assert [read_size(given) for given in (None, 32, "32", "48x64", "48 X 64")] == [
            None,
            32,
            32,
            (48, 64),
            (48, 64),
        ]
        for wrong in (0, "0x4", "4x", "big", "4x4x4", -3, 2000, True, 1.5):
            with pytest.raises(
                ValueError, match="size must be the longer side of the images in pixels, or height and"
            ):
                read_size(wrong)  # type: ignore[arg-type]


class TestLoading:
    def test_images_of_one_size_are_kept_as_they_are(self, tmp_path: Path) -> None:
        arrays = [noise(8, 6, 3, seed=seed) for seed in range(3)]
        loaded = load(write(tmp_path, *arrays))
        assert loaded.form == ImageForm(size=(8, 6), channels=3) and np.array_equal(loaded.pixels, arrays)
        assert loaded.remarks == ["3 images, RGB, 8 x 6 pixels (height x width)"]

    def test_grey_only_if_all_are(self, tmp_path: Path) -> None:
        grey = [noise(8, 8, seed=seed) for seed in range(2)]
        loaded = load(write(tmp_path, grey[0], np.stack([grey[1]] * 3, -1)))
        assert loaded.form.channels == 1 and np.array_equal(loaded.pixels[..., 0], grey)
        mixed = load(write(tmp_path, grey[0], noise(8, 8, 3)))
        assert mixed.form.channels == 3 and np.array_equal(mixed.pixels[0], np.stack([grey[0]] * 3, -1))

    def test_scaling_and_cutting_are_said(self, tmp_path: Path) -> None:
        paths = write(tmp_path, noise(20, 30), noise(100, 100), noise(100, 100), noise(100, 200))
        remarks = load(paths).remarks
        assert remarks == [
            "4 images, grey, 64 x 64 pixels (height x width): the median, its longer side at most 64; files have "
            "20 x 30 to 100 x 200",
            "1 of 4 images: smaller than 64 x 64, and enlarged",
            "2 of 4 images: other proportions; the middle is taken, up to 50% of a side is cut off (fit='pad' keeps "
            "all)",
        ]
        padded = load(paths, fit="pad", size=(50, 50))
        assert padded.remarks[0].endswith(
            "50 x 50 pixels (height x width): as asked; files have 20 x 30 to 100 x 200"
        )
        assert padded.remarks[2] == "2 of 4 images: other proportions; between black bars"

    def test_deep_images_use_the_bits_that_there_are(self, tmp_path: Path) -> None:
        deep = noise(8, 8, dtype=np.uint16) * 20  # below 2^12
        loaded = load(write(tmp_path, deep, noise(8, 8)))
        assert loaded.form.bits == 12 and np.array_equal(loaded.pixels[0, ..., 0], deep >> 4)
        assert any(
            "more than 8 bits; the upper 8 of values up to 4095 are kept" in text for text in loaded.remarks
        )
        again = load_again([tmp_path / "0.png"], loaded.form)
        assert np.array_equal(again.pixels[0], loaded.pixels[0])

    def test_a_few_unreadable_images_are_left_out_and_named(self, tmp_path: Path) -> None:
        paths = write(tmp_path, *(noise(8, 8, seed=seed) for seed in range(40)))
        paths[3].write_bytes(paths[3].read_bytes()[:60])
        paths[7].unlink()
        loaded = load(paths)
        assert len(loaded.pixels) == 38 and list(loaded.places) == [
            place for place in range(40) if place not in (3, 7)
        ]
        assert (
            loaded.remarks[-1]
            == "left out: 3.png, which is cut off before its end; 7.png, which is not there"
        )
        paths[9].write_text("no image")
        with pytest.raises(
            DataError,
            match="photos: 3 images of 40 cannot be read, which is more than one in 20: 3.png, which is cut off before "
            "its end; 7.png, which is not there; and 1 more files",
        ):
            load(paths)


class TestLoadingAgain:
    def test_new_images_get_the_form_of_the_old_ones(self, tmp_path: Path) -> None:
        old = write(tmp_path / "old", *(noise(40, 60, 3, seed=seed) for seed in range(3)))
        loaded = load(old, size=20)
        again = load_again(old, loaded.form)
        assert np.array_equal(again.pixels, loaded.pixels) and again.form == loaded.form
        other = load_again(write(tmp_path / "new", noise(7, 9)), loaded.form)
        assert other.pixels.shape == (1, 13, 20, 3)

    def test_colours_become_grey_for_a_grey_model(self, tmp_path: Path) -> None:
        colours = noise(8, 8, 3)
        again = load_again(write(tmp_path, colours), ImageForm(size=(8, 8), channels=1))
        assert np.array_equal(again.pixels[0, ..., 0], np.asarray(Image.fromarray(colours).convert("L")))
        assert again.remarks == ["1 of 1 images: colours, which the model reads as grey"]

    def test_unreadable_ones_are_told_apart(self, tmp_path: Path) -> None:
        again = load_again(
            [*write(tmp_path, noise(8, 8)), tmp_path / "gone.png"], ImageForm(size=(8, 8), channels=1)
        )
        assert len(again.pixels) == 1 and again.unreadable == {1: "is not there"}


def test_luma_is_pillows() -> None:
    colours = noise(50, 50, 3)
    assert np.array_equal(grey_of(colours)[..., 0], np.asarray(Image.fromarray(colours).convert("L")))
