"""Untrusted images in, pixels or a reason out."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dcvae.sharding.decoding import decode, pyramid, to_square
from dcvae.shards.encodings import BadImage, encode, is_ready_jpeg, npy_header

MUTATIONS = 2000


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """Red left half, blue right half, a green bar on top."""
    image = Image.new("RGB", (width, height), (200, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height), (0, 0, 200))
    draw.rectangle((0, 0, width, height // 4), (0, 200, 0))
    return image


def test_formats() -> None:
    for format in ("PNG", "BMP", "PPM", "TIFF", "WEBP", "JPEG", "GIF"):
        pixels = to_square(decode(saved(scene(40, 40), format), 40), 40, 3)
        assert pixels[30, 5].argmax() == 0, format
        assert pixels[30, 35].argmax() == 2, format
        assert pixels[3, 20].argmax() == 1, format


def test_modes() -> None:
    grey = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    deep = (grey.astype(np.uint16) * 257).astype(np.uint16)
    for image in (
        Image.fromarray(grey),
        Image.fromarray(deep),
        Image.fromarray(grey).convert("P"),
        Image.fromarray(grey).convert("RGB"),
        Image.fromarray(grey).convert("RGBA"),
        Image.fromarray(grey).convert("LA"),
    ):
        for channels in (1, 3):
            pixels = to_square(decode(saved(image, "PNG"), 32), 32, channels)
            assert np.abs(pixels.astype(int) - grey[..., None]).max() <= 1, image.mode
    black_and_white = decode(saved(Image.fromarray(grey).convert("1"), "PNG"), 32)
    assert set(np.unique(to_square(black_and_white, 32, 1))) == {0, 255}
    printed = decode(saved(scene().convert("CMYK"), "JPEG"), 32)
    assert to_square(printed, 32, 3)[25, 2].argmax() == 0


def test_transparency_is_put_on_white() -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    assert (to_square(decode(saved(image, "PNG"), 8), 8, 3) == 255).all()


def test_rotated_photographs_stand_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    lying = scene(40, 40).rotate(90)
    pixels = to_square(decode(saved(lying, "JPEG", quality=95, exif=exif), 40), 40, 3)
    assert pixels[3, 20].argmax() == 1
    assert pixels[30, 5].argmax() == 0


def test_the_centre_is_cut_out() -> None:
    pixels = to_square(scene(80, 40), 40, 3)
    assert pixels[30, 18].argmax() == 0
    assert pixels[30, 22].argmax() == 2


def test_upscaling_is_smooth() -> None:
    """A step edge keeps monotone neighbours: no blocks of equal pixels as nearest would give."""
    edge = Image.fromarray(np.array([[0, 0, 85, 170, 255, 255, 255, 255]] * 8, np.uint8))
    row = to_square(edge, 16, 1)[8, 3:10, 0].astype(int)
    assert (np.diff(row) > 0).all()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not an image"),
        (b"%PDF-1.7", "not an image"),
        (saved(scene(), "PNG")[:100], "damaged"),
        (saved(scene(), "JPEG")[:500], "damaged"),
        (saved(Image.new("1", (8000, 8000)), "PNG"), "8000x8000 pixels, more than 50 million"),
        (saved(scene(8, 8), "GIF", save_all=True, append_images=[scene(8, 8).rotate(90)]), "anim"),
        (saved(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), "pixels of mode F"),
    ],
)
def test_bad_images_are_told_why(body: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        decode(body, 8)


def test_too_small_for_the_resolution() -> None:
    with pytest.raises(BadImage, match="9x30 pixels are too few for 64"):
        to_square(Image.new("L", (9, 30)), 64, 1)


def test_a_large_photograph_keeps_its_detail_although_decoded_smaller() -> None:
    chance = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    large = Image.fromarray(chance).resize((2048, 2048), Image.Resampling.BICUBIC)
    exact = to_square(large, 64, 3).astype(int)
    assert np.abs(to_square(decode(saved(large, "JPEG", quality=95), 64), 64, 3) - exact).mean() < 2


def test_only_a_fitting_jpeg_is_stored_as_it_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    square = scene(256, 256)
    assert is_ready_jpeg(saved(square, "JPEG"), 256, 3)
    assert is_ready_jpeg(saved(square.convert("L"), "JPEG"), 256, 1)
    for other in (
        saved(square, "PNG"),
        saved(square, "JPEG", exif=exif),
        saved(square.convert("L"), "JPEG"),
        saved(square.convert("CMYK"), "JPEG"),
        saved(scene(256, 255), "JPEG"),
        b"\xff\xd8",
    ):
        assert not is_ready_jpeg(other, 256, 3)


def test_the_header_is_numpys_own() -> None:
    for side, channels in ((4, 1), (128, 3), (1024, 3)):
        buffer = io.BytesIO()
        np.save(buffer, np.zeros((side, side, channels), np.uint8))
        assert buffer.getvalue().startswith(npy_header(side, channels))
        assert len(npy_header(side, channels)) == 128


def test_equal_pixels_give_equal_bytes() -> None:
    pixels = to_square(scene(300, 300), 256, 3)
    for encoding in ("npy", "jpg", "png"):
        assert encode(pixels, encoding) == encode(pixels.copy(), encoding)
    assert list(pyramid(pixels, 64)) == [64, 128, 256]


SEEDS = [
    saved(scene(), "PNG"),
    saved(scene(), "JPEG", quality=90),
    saved(scene(), "JPEG", quality=90, progressive=True),
    saved(scene().convert("CMYK"), "JPEG"),
    saved(scene(), "GIF"),
    saved(scene(), "BMP"),
    saved(scene(), "WEBP"),
    saved(scene(), "TIFF", compression="tiff_lzw"),
    saved(scene(), "PPM"),
    saved(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), "PNG"),
    saved(scene().convert("P"), "PNG"),
]


def mutated(chance: np.random.Generator) -> bytes:
    """A damaged image: flipped bits, cuts, wrong sizes in the header, splices, runs of zeros."""
    body = bytearray(SEEDS[chance.integers(len(SEEDS))])
    kind = chance.integers(5)
    at = int(chance.integers(len(body)))
    if kind == 0:
        for bit in chance.integers(0, 8 * len(body), chance.integers(1, 9)).tolist():
            body[bit // 8] ^= 1 << bit % 8
    elif kind == 1:
        del body[at:]
    elif kind == 2:
        for place in chance.integers(0, min(64, len(body)), 3).tolist():
            body[place] = int(chance.choice([0, 1, 127, 128, 255]))
    elif kind == 3:
        other = SEEDS[chance.integers(len(SEEDS))]
        body[at:] = other[int(chance.integers(len(other))) :]
    else:
        body[at : at + 40] = bytes(min(40, len(body) - at))
    return bytes(body)


def test_mutated_images_are_pixels_or_a_reason() -> None:
    chance = np.random.default_rng(11)
    refused = 0
    for _ in range(MUTATIONS):
        try:
            pixels = to_square(decode(mutated(chance), 16), 16, 3)
        except BadImage as error:
            refused += 1
            assert 0 < len(str(error)) < 200  # noqa: PT017
        else:
            assert pixels.shape == (16, 16, 3)
            assert pixels.dtype == np.uint8
    assert refused > MUTATIONS // 4
