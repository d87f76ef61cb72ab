"""Turns one source image, given as untrusted bytes, into squares of every size."""

import io
import warnings
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dcvae.shards.encodings import BadImage, Pixels

FORMATS = (*("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP"),)
"""Plain picture formats whose decoders are simple or widely used. Not those that start other
programs (EPS, PDF, WMF), hold several pictures (ICO, ICNS, PSD, FLI), or have unmaintained decoders
(PCX, SGI, SUN, PCD, …)."""
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B")
MAX_PIXELS = 50_000_000  # checked against the header, before anything is decoded
MAX_UPSCALE = 4


@cache
def formats() -> list[str]:
    """The formats of :data:`FORMATS` that this Pillow supports."""
    Image.init()
    return [kind for kind in FORMATS if kind in Image.OPEN]


def decode(data: bytes, resolution: int) -> Image.Image:
    """Decode an untrusted image file.

    EXIF rotation is applied, transparency is put on white, 16-bit grey is scaled to 8 bits.
    A JPEG much larger than ``resolution`` is decoded at a fraction of its size (at least four
    times the resolution).

    Returns:
        An image of mode "L", "RGB", "CMYK" or "YCbCr".

    Raises:
        BadImage: not an image, damaged, animated, too large, or of a mode not known here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about size and metadata; our limits are stricter
            image = Image.open(io.BytesIO(data), formats=formats())
            _check_header(image)
            image.draft(None, (4 * resolution, 4 * resolution))
            image.load()
            return _flattened(ImageOps.exif_transpose(image))
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image" if data else "empty file") from None
    except Exception as error:  # decoders of hostile bytes raise anything at all
        raise BadImage(f"damaged ({' '.join(str(error).split())[:80]})") from error


def opened(image: Image.Image) -> Image.Image:
    """As :func:`decode`, for an image that is already open.

    Raises:
        BadImage: damaged, animated, too large, or of a mode not known here.
    """
    _check_header(image)
    try:
        return _flattened(ImageOps.exif_transpose(image))
    except OSError as error:
        raise BadImage(f"damaged ({' '.join(str(error).split())[:80]})") from error


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width}x{height} pixels, more than {MAX_PIXELS // 10**6} million")
    several = getattr(image, "n_frames", 1) > 1
    if several and image.format != "MPO":  # MPO: a phone's JPEG with a preview after the photograph
        raise BadImage("animated or of several pages")
    if image.mode not in MODES:
        raise BadImage(f"pixels of mode {image.mode}")


def _flattened(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        front = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", front.size, "white"), front).convert("RGB")
    return image.convert("RGB") if image.mode in ("P", "RGBX") else image


def to_square(image: Image.Image, resolution: int, channels: int) -> Pixels:
    """Crop the central square and resize it with an antialiasing filter, without linearisation.

    Returns:
        uint8 [resolution, resolution, channels].

    Raises:
        BadImage: the shorter side is less than a quarter of ``resolution``.
    """
    width, height = image.size
    side = min(width, height)
    if side * MAX_UPSCALE < resolution:
        raise BadImage(f"{width}x{height} pixels are too few for {resolution}")
    left, top = (width - side) // 2, (height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    image = image.convert("L" if channels == 1 else "RGB")
    if side != resolution:
        smaller = Image.Resampling.LANCZOS if side > resolution else Image.Resampling.BICUBIC
        image = image.resize((resolution, resolution), smaller)
    return np.asarray(image).reshape(resolution, resolution, channels)


def pyramid(pixels: Pixels, smallest: int) -> dict[int, Pixels]:
    """``pixels`` at its own resolution and every halved one down to ``smallest``.

    Each level averages the pixels that it covers: the same as halving repeatedly, but rounded only
    once.

    Args:
        pixels: uint8 [R, R, C], R a power of two.

    Returns:
        uint8 [resolution, resolution, C] by resolution, ascending.
    """
    levels, sums, count = {pixels.shape[0]: pixels}, pixels.astype(np.uint32), 1
    while sums.shape[0] > smallest:
        sums = sums[0::2] + sums[1::2]
        sums = sums[:, 0::2] + sums[:, 1::2]
        count *= 4
        levels[sums.shape[0]] = ((sums + count // 2) // count).astype(np.uint8)
    return dict(sorted(levels.items()))
