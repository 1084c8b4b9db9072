"""Pictures: every common format opens, everything else is refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.core.data.makers import NOISE, picture, picture_bytes
from triptych.data.media import load_image
from triptych.errors import DataError


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff", "avif", "ppm"])
def test_common_formats_open_as_rgb(tmp_path: Path, suffix: str) -> None:
    image = load_image(picture(tmp_path / f"p.{suffix}"))
    assert (image.mode, image.size) == ("RGB", (60, 40))


@pytest.mark.parametrize("wrap", [Path, str, Path.read_bytes, Image.open], ids=["path", "str", "bytes", "pil"])
def test_a_picture_is_the_same_whichever_way_it_comes(tmp_path: Path, wrap: Any) -> None:
    path = picture(tmp_path / "p.png")
    assert np.array_equal(np.asarray(load_image(wrap(path))), np.asarray(Image.open(path)))


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (60, 40)).save(path, exif=exif)
    assert load_image(path).size == (40, 60)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_does_not_spoil_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    Image.new("RGB", (60, 40)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert load_image(path).size == (60, 40)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (4, 4)).save(stream, "png")  # black, fully transparent
    assert load_image(stream.getvalue()).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (4, 4)).save(stream, "tiff")
    assert load_image(stream.getvalue()).mode == "RGB"


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(stream, "png")
    assert load_image(stream.getvalue()).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(
    "pixels",
    [NOISE, NOISE / 255.0, NOISE.astype(np.float32), NOISE.astype(np.int64), NOISE.astype(np.uint16) * 257],
    ids=["uint8", "unit floats", "byte floats", "int64", "uint16"],
)
def test_arrays_of_any_type_are_scaled_to_bytes(pixels: Any) -> None:
    assert np.array_equal(np.asarray(load_image(pixels)), NOISE)


def test_grey_and_transparent_arrays_are_pictures_too() -> None:
    assert load_image(NOISE[:, :, 0]).mode == "RGB"
    clear = np.zeros((4, 4, 4), np.uint8)
    assert load_image(clear).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((4, 4, 7)), np.zeros((0, 4, 3)), np.full((4, 4, 3), np.nan)])
def test_arrays_that_are_no_pictures_are_refused(array: Any) -> None:
    with pytest.raises(DataError):
        load_image(array)


def test_draft_decoding_keeps_the_size_asked_for(tmp_path: Path) -> None:
    path = picture(tmp_path / "big.jpg", (1600, 1200))
    assert min(load_image(path, at_least=200).size) == 300
    assert load_image(path).size == (1600, 1200)


def test_fifty_megapixels_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (10_000, 5_000)).save(path)
    with pytest.raises(DataError, match=r"huge\.png.*50,000,000 pixels.*data\.max_image_pixels"):
        load_image(path)
    assert load_image(path, max_pixels=50_000_000).size == (10_000, 5_000)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(path)
    with pytest.raises(DataError, match=r"data\.max_image_pixels"):
        load_image(path)


def test_the_limit_holds_for_pil_images_too() -> None:
    with pytest.raises(DataError, match=r"data\.max_image_pixels"):
        load_image(Image.new("RGB", (20, 20)), max_pixels=399)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_truncated_picture_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = picture(tmp_path / f"cut.{suffix}", (300, 200))
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match=rf"cut\.{suffix}"):
        load_image(path)
    with pytest.raises(DataError, match=rf"cut\.{suffix}"):
        load_image(path, at_least=1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a", "cannot|not a picture"),
        (b"hello" * 100, "not a picture"),
        (picture_bytes()[:30], ""),
    ],
    ids=["empty", "header only", "text", "cut in the header"],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"p.png.*({reason})"):
        load_image(path)


def test_missing_files_folders_and_foreign_types_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg.*does not exist"):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="folder"):
        load_image(tmp_path)
    with pytest.raises(DataError, match="no bytes"):
        load_image(b"")
    with pytest.raises(DataError, match="int"):
        load_image(3)


def test_formats_that_pillow_hands_to_other_programs_are_not_opened():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(DataError, match="not a picture in a format that is read here"):
        load_image(postscript)
