"""One image: from the bytes somebody gave us to arrays of every size, and back to bytes."""

import io
import warnings

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B")
MAX_PIXELS = 50_000_000  # checked in the header, before anything is decoded
MAX_UPSCALE = 4
JPEG_QUALITY = 95
JPEG_FROM = 256  # pixels; smaller images are stored raw, decoding them costs nothing


class BadImage(Exception):  # noqa: N818
    """The image cannot be used; the message says why in a few words."""


def encoding_of(resolution: int, lossless: bool = False) -> str:
    """How images of this side are stored: "npy", or from 256 pixels "jpg" ("png" if lossless)."""
    if resolution < JPEG_FROM:
        return "npy"
    return "png" if lossless else "jpg"


def decode(data: bytes, resolution: int) -> Image.Image:
    """Decode an untrusted image file.

    EXIF rotation is applied, transparency is put on white, 16-bit grey is scaled to 8 bit.
    A JPEG much larger than ``resolution`` is decoded at a fraction of its size (never under
    four times the resolution).

    Returns:
        An image of mode "L", "RGB", "CMYK" or "YCbCr".

    Raises:
        BadImage: not an image, damaged, animated, too large, or of a mode not known here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size and metadata; the limits here are stricter
            image = Image.open(io.BytesIO(data), formats=FORMATS)
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


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width}x{height} pixels, more than {MAX_PIXELS // 10**6} million")
    several = getattr(image, "n_frames", 1) > 1
    if several and image.format != "MPO":  # a phone's JPEG with a preview behind the photograph
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
    """Cut the central square and resize it with an antialiasing filter, on the stored values.

    Returns:
        uint8 [resolution, resolution, channels].

    Raises:
        BadImage: the shorter side is under a quarter of ``resolution``.
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
    """``pixels`` at its own and every halved resolution down to ``smallest``.

    Each level is the mean over the area of its pixels: the same as halving again and again, but
    rounded once.

    Args:
        pixels: uint8 [R, R, C], R a power of two.

    Returns:
        Resolution → uint8 [resolution, resolution, C], ascending.
    """
    levels, sums, count = {pixels.shape[0]: pixels}, pixels.astype(np.uint32), 1
    while sums.shape[0] > smallest:
        sums = sums[0::2] + sums[1::2]
        sums = sums[:, 0::2] + sums[:, 1::2]
        count *= 4
        levels[sums.shape[0]] = ((sums + count // 2) // count).astype(np.uint8)
    return dict(sorted(levels.items()))


def npy_header(resolution: int, channels: int) -> bytes:
    """The one header of every .npy member: NPY 1.0, uint8, C order, [R, R, C], 128 bytes."""
    shape = f"({resolution}, {resolution}, {channels})"
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"


def encode(pixels: Pixels, encoding: str) -> bytes:
    """The bytes of one member. ``pixels`` is uint8 [R, R, C]; equal pixels give equal bytes."""
    resolution, _, channels = pixels.shape
    if encoding == "npy":
        return npy_header(resolution, channels) + pixels.tobytes()
    if encoding == "jpg":
        grey = channels == 1
        encoded: bytes = simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels),
            quality=JPEG_QUALITY,
            colorspace="GRAY" if grey else "RGB",
            colorsubsampling="Gray" if grey else "444",
        )
        return encoded
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def is_ready_jpeg(data: bytes, resolution: int, channels: int) -> bool:
    """True when ``data`` is a JPEG to be stored as it is: right size, colours, not rotated."""
    if not data.startswith(b"\xff\xd8"):
        return False
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    wanted = "Gray" if channels == 1 else "YCbCr"
    if (height, width, colours) != (resolution, resolution, wanted):
        return False
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return bool(image.getexif().get(0x0112, 1) == 1)


def decode_stored(data: bytes, encoding: str, out: Pixels) -> None:
    """Decode a .jpg or .png member into ``out``, uint8 [R, R, C].

    The size in the header is compared first: a member that claims another one costs nothing.

    Raises:
        BadImage: it is damaged or not of this size.
    """
    try:
        if encoding == "jpg":
            _decode_jpeg(data, out)
            return
        _decode_png(data, out)
    except BadImage:
        raise
    except Exception as error:  # decoders of hostile bytes raise anything at all
        raise BadImage(f"damaged ({error})") from error


def _decode_png(data: bytes, out: Pixels) -> None:
    resolution, _, channels = out.shape
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if (width, height) != (resolution, resolution):
        raise BadImage(f"{width}x{height} pixels where {resolution} are due")
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        if image.mode != ("L" if channels == 1 else "RGB") or image.size != (width, height):
            raise BadImage(f"of mode {image.mode} where {channels} channels are due")
        out[:] = np.asarray(image).reshape(out.shape)


def _decode_jpeg(data: bytes, out: Pixels) -> None:
    resolution, _, channels = out.shape
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    if (height, width) != (resolution, resolution):
        raise BadImage(f"{width}x{height} pixels where {resolution} are due")
    colours = "GRAY" if channels == 1 else "RGB"
    simplejpeg.decode_jpeg(data, colorspace=colours, buffer=out)
