"""Every kind of image file becomes grey or RGB bytes, upright; what cannot be read has one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from anyformer.images.decoding import SUFFIXES, Header, Unreadable, highest_value, read_header, read_picture

COLOURS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
SIZE = (20, 30)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.fixture
def rgb() -> Image.Image:
    return Image.fromarray(COLOURS)


class TestExactFormats:
    """Formats without losses keep every pixel, whatever the mode of the file is."""

    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
    def test_rgb(self, tmp_path: Path, rgb: Image.Image, suffix: str) -> None:
        file = saved(tmp_path / f"a.{suffix}", rgb, **({"lossless": True} if suffix == "webp" else {}))
        assert read_header(file) == Header(SIZE, deep=False)
        assert np.array_equal(read_picture(file, SIZE, "crop").pixels, COLOURS)

    @pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
    def test_grey(self, tmp_path: Path, rgb: Image.Image, mode: str) -> None:
        grey = rgb.convert("L") if mode != "1" else rgb.convert("1").convert("L")
        values = np.asarray(grey)
        image = Image.fromarray(values.astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
        picture = read_picture(saved(tmp_path / "a.png", image), SIZE, "crop")
        assert picture.pixels.shape == SIZE and np.array_equal(picture.pixels, values)

    def test_grey_that_is_stored_as_rgb(self, tmp_path: Path, rgb: Image.Image) -> None:
        grey = rgb.convert("L")
        picture = read_picture(saved(tmp_path / "a.png", grey.convert("RGB")), SIZE, "crop")
        assert np.array_equal(picture.pixels, np.asarray(grey))

    def test_a_palette(self, tmp_path: Path, rgb: Image.Image) -> None:
        paletted = rgb.convert("P")
        picture = read_picture(saved(tmp_path / "a.png", paletted), SIZE, "crop")
        assert np.array_equal(picture.pixels, np.asarray(paletted.convert("RGB"))) and not picture.transparent

    def test_cmyk(self, tmp_path: Path) -> None:
        ink = Image.new("CMYK", (30, 20), (0, 255, 255, 0))
        assert (
            np.abs(read_picture(saved(tmp_path / "a.jpg", ink), SIZE, "crop").pixels - [255, 0, 0]).max() < 8
        )


class TestTurnsAndFrames:
    def test_an_image_is_upright(self, tmp_path: Path, rgb: Image.Image) -> None:
        for orientation, turned in ((1, COLOURS), (3, COLOURS[::-1, ::-1]), (6, np.rot90(COLOURS, -1))):
            exif = Image.Exif()
            exif[0x0112] = orientation
            file = saved(tmp_path / "a.png", rgb, exif=exif)
            size = turned.shape[:2]
            assert read_header(file).size == size
            assert np.array_equal(read_picture(file, size, "crop").pixels, turned)

    @pytest.mark.parametrize("suffix", ["gif", "tif", "webp"])
    def test_the_first_frame_is_taken(self, tmp_path: Path, suffix: str) -> None:
        white, black = Image.new("L", (30, 20), 255), Image.new("L", (30, 20), 0)
        one = saved(tmp_path / f"one.{suffix}", white)
        two = saved(tmp_path / f"two.{suffix}", white, save_all=True, append_images=[black])
        assert not read_picture(one, SIZE, "crop").frames
        picture = read_picture(two, SIZE, "crop")
        assert picture.frames and picture.pixels.min() == 255


class TestTransparency:
    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparent_pixels_are_white(self, tmp_path: Path, rgb: Image.Image, mode: str) -> None:
        image = rgb.convert("RGB" if mode == "RGBA" else "L")
        alpha = Image.new("L", image.size, 255)
        alpha.paste(0, (0, 0, 10, 20))
        image.putalpha(alpha)
        picture = read_picture(saved(tmp_path / "a.png", image), SIZE, "crop")
        assert picture.transparent and (picture.pixels[:, :10] == 255).all()
        assert np.array_equal(
            picture.pixels[:, 10:], np.asarray(image)[:, 10:, : 3 if mode == "RGBA" else 1].squeeze()
        )

    def test_one_transparent_colour(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (30, 20), (9, 9, 9))
        file = saved(tmp_path / "a.png", image, transparency=(9, 9, 9))
        assert read_picture(file, SIZE, "crop").pixels.min() == 255

    def test_opaque_alpha_is_none(self, tmp_path: Path, rgb: Image.Image) -> None:
        picture = read_picture(saved(tmp_path / "a.png", rgb.convert("RGBA")), SIZE, "crop")
        assert not picture.transparent and np.array_equal(picture.pixels, COLOURS)


class TestDepth:
    def test_the_upper_8_of_so_many_bits_are_kept(self, tmp_path: Path) -> None:
        values = np.arange(600, dtype=np.uint16).reshape(SIZE) * 6
        for suffix in ("png", "tif"):
            file = saved(tmp_path / f"a.{suffix}", Image.fromarray(values))
            assert read_header(file).deep and highest_value(file) == 3594
            assert np.array_equal(read_picture(file, SIZE, "crop", 12).pixels, values >> 4)
            assert read_picture(file, SIZE, "crop", 8).pixels.max() == 255  # clipped: no value wraps around

    def test_values_without_a_range_are_refused(self, tmp_path: Path) -> None:
        fractions = saved(
            tmp_path / "f.tif", Image.fromarray(np.random.default_rng(0).random(SIZE).astype(np.float32))
        )
        with pytest.raises(Unreadable, match="^holds fractions of 32 bits"):
            read_picture(fractions, SIZE, "crop")
        wide = saved(tmp_path / "i.tif", Image.fromarray(np.full(SIZE, 70_000, np.int32)))
        with pytest.raises(Unreadable, match="holds values from 70000 to 70000, which are more than 16 bits"):
            read_picture(wide, SIZE, "crop")


class TestFit:
    def test_crop_takes_the_middle(self, tmp_path: Path) -> None:
        wide = np.zeros((10, 30), np.uint8)
        wide[:, 10:20] = 200
        file = saved(tmp_path / "a.png", Image.fromarray(wide))
        assert np.array_equal(read_picture(file, (10, 10), "crop").pixels, wide[:, 10:20])
        assert np.array_equal(read_picture(file, (5, 5), "crop").pixels[:, 1:4], np.full((5, 3), 200))

    def test_pad_keeps_all(self, tmp_path: Path) -> None:
        file = saved(tmp_path / "a.png", Image.new("L", (30, 10), 200))
        pixels = read_picture(file, (30, 30), "pad").pixels
        assert (pixels[10:20] == 200).all() and not pixels[:10].any() and not pixels[20:].any()

    def test_a_large_jpeg_is_nearly_the_exact_one(self, tmp_path: Path) -> None:
        smooth = np.linspace(0, 255, 800)[:, None] * np.ones((1, 600))
        image = Image.fromarray(smooth.astype(np.uint8))
        fast = read_picture(saved(tmp_path / "a.jpg", image, quality=95), (40, 30), "crop").pixels
        exact = read_picture(saved(tmp_path / "a.png", image), (40, 30), "crop").pixels
        assert np.abs(fast.astype(int) - exact).max() <= 3


class TestUnreadable:
    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
    def test_cut_off_files(self, tmp_path: Path, rgb: Image.Image, suffix: str) -> None:
        whole = saved(tmp_path / f"a.{suffix}", rgb).read_bytes()
        for share in (0.02, 0.5, 0.9):
            file = tmp_path / f"cut.{suffix}"
            file.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(Unreadable, match="is cut off|is no image|is damaged"):
                read_picture(file, SIZE, "crop")

    def test_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "text.png").write_text("not an image")
        (tmp_path / "empty.png").touch()
        (tmp_path / "folder.png").mkdir()
        eps = tmp_path / "a.eps.png"  # is not given to a program that interprets it
        eps.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
        said = {"text": "is no image that can be read", "empty": "is empty", "gone": "is not there"}
        said |= {"folder": "cannot be read", "a.eps": "is no image that can be read"}
        for name, words in said.items():
            for read in (read_header, lambda path: read_picture(path, SIZE, "crop")):
                with pytest.raises(Unreadable, match=f"^{words}"):
                    read(tmp_path / f"{name}.png")

    def test_bombs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = saved(tmp_path / "a.png", Image.new("L", (30, 20)))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # warned of up to twice as many
        read_picture(file, SIZE, "crop")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
        with pytest.raises(Unreadable, match="is damaged, or of a kind that is not read"):
            read_picture(file, SIZE, "crop")


def test_suffixes_are_those_of_pillow() -> None:
    assert set(Image.registered_extensions()) >= SUFFIXES


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, image = tmp_path_factory.mktemp("whole"), Image.fromarray(COLOURS)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {}
    for suffix in ("png", "jpg", "gif", "webp", "tif", "bmp", "ppm", "jp2"):
        saved(folder / f"a.{suffix}", image, **({"exif": exif} if suffix in ("png", "jpg", "tif") else {}))
        found[suffix] = (folder / f"a.{suffix}").read_bytes()
    return found


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, whole_files: dict[str, bytes], data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from(sorted(whole_files)))
    content = bytearray(whole_files[suffix])
    head = st.integers(0, min(200, len(content) - 1)) | st.integers(0, len(content) - 1)
    for place, value in data.draw(st.lists(st.tuples(head, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        header = read_header(file)
        picture = read_picture(file, (6, 5), "crop")
    except Unreadable as error:
        assert str(error)  # noqa: PT017
        return
    assert min(header.size) >= 1 and picture.pixels.shape in ((6, 5), (6, 5, 3))
