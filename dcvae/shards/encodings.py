"""How one image is stored in a shard: pixels to bytes, and back."""

import io

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

Pixels = npt.NDArray[np.uint8]

JPEG_QUALITY = 95
JPEG_FROM = 256  # pixels; smaller images are stored raw, so that decoding costs nothing


class BadImage(Exception):  # noqa: N818
    """The image cannot be used; the message says why in a few words."""


def encoding_of(resolution: int, lossless: bool = False) -> str:
    """How images of this side are stored: "npy"; from 256 pixels "jpg", or "png" if lossless."""
    if resolution < JPEG_FROM:
        return "npy"
    return "png" if lossless else "jpg"


def npy_header(resolution: int, channels: int) -> bytes:
    """The header of every .npy member: NPY 1.0, uint8, C order, [R, R, C], 128 bytes."""
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
    """Whether ``data`` is a JPEG that can be stored as it is: right size, colours, not rotated."""
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

    The size in the header is checked first, so a member that claims another size costs nothing.

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
