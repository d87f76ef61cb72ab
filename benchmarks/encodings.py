"""Sizes and decoding rates of ways to store an image: why shards are as they are.

    python -m benchmarks.encodings [--resolutions 4 32 256] [--seconds 0.4]

Pictures are crops of two photographs. Sizes are those of a member in a tar, with header and padding
(a label takes another 1,024 bytes). Rates are images/s of one thread, from the stored bytes to
uint8 [H, W, C]; the decoders take turns. Decibels are the JPEG's peak signal-to-noise ratio. Last
comes the time to write a labelled sample into a tar in memory, ours against webdataset.TarWriter.
"""

import argparse
import io
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import webdataset
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from benchmarks.stream import IMAGES, Crops
from dcvae.shards.encodings import decode_stored, encode, npy_header
from dcvae.shards.tar import ShardWriter

COUNT, ROUNDS = 32, 3


def raw(body: bytes, out: npt.NDArray[np.uint8]) -> None:
    header = len(npy_header(out.shape[0], out.shape[2]))
    out[:] = np.frombuffer(body, np.uint8, offset=header).reshape(out.shape)


def pillow(body: bytes, out: npt.NDArray[np.uint8]) -> None:
    with Image.open(io.BytesIO(body)) as image:
        out[:] = np.asarray(image)


def torchvision(body: bytes, out: npt.NDArray[np.uint8]) -> None:
    buffer = torch.frombuffer(bytearray(body), dtype=torch.uint8)
    out[:] = decode_jpeg(buffer, ImageReadMode.RGB).permute(1, 2, 0).numpy()


def simplejpeg(body: bytes, out: npt.NDArray[np.uint8]) -> None:
    decode_stored(body, "jpg", out)


DECODERS: dict[str, tuple[str, Callable[[bytes, npt.NDArray[np.uint8]], None]]] = {
    "raw": ("npy", raw),
    "png pillow": ("png", pillow),
    "jpg pillow": ("jpg", pillow),
    "jpg torchv.": ("jpg", torchvision),
    "jpg simple": ("jpg", simplejpeg),
}


def row(resolution: int, seconds: float) -> str:
    source = Crops(COUNT, resolution)
    images = [source.load(item) for item in source.items("train")]
    stored = {kind: [encode(image, kind) for image in images] for kind in ("npy", "png", "jpg")}
    out = np.empty((resolution, resolution, 3), np.uint8)
    rates: dict[str, list[float]] = {name: [] for name in DECODERS}
    for _ in range(ROUNDS):
        for name, (kind, decode) in DECODERS.items():
            rates[name].append(_rate(decode, stored[kind], out, seconds))
    sizes = [statistics.mean(512 + len(b) + -len(b) % 512 for b in bodies)
             for bodies in stored.values()]  # fmt: skip
    text = f"{resolution:>4}" + "".join(f"{size:>10,.0f}" for size in sizes)
    text += "".join(f"{statistics.median(values):>13,.0f}" for values in rates.values())
    return text + f"{_decibels(images, stored['jpg']):>9.1f}"


def _rate(
    decode: Callable[[bytes, npt.NDArray[np.uint8]], None],
    bodies: list[bytes],
    out: npt.NDArray[np.uint8],
    seconds: float,
) -> float:
    began = time.perf_counter()
    for count, body in enumerate(itertools.cycle(bodies), 1):
        decode(body, out)
        if count % 8 == 0 and (took := time.perf_counter() - began) > seconds:
            return count / took
    raise AssertionError


def _decibels(images: list[npt.NDArray[np.uint8]], bodies: list[bytes]) -> float:
    errors, out = [], np.empty_like(images[0])
    for image, body in zip(images, bodies, strict=True):
        decode_stored(body, "jpg", out)
        errors.append(np.mean((image.astype(float) - out) ** 2))
    return float(10 * np.log10(255**2 / np.mean(errors)))


def ours(bodies: list[bytes]) -> bytes:
    writer = ShardWriter()
    for number, body in enumerate(bodies):
        writer.add(f"{number:09d}", "npy", body, number % 10)
    return writer.finish()


def theirs(bodies: list[bytes]) -> bytes:
    buffer = io.BytesIO()
    writer = webdataset.TarWriter(buffer, mtime=0, encoder=False)
    for number, body in enumerate(bodies):
        label = str(number % 10).encode()
        writer.write({"__key__": f"{number:09d}", "npy": body, "cls": label})
    writer.close()
    return buffer.getvalue()


def writing(size: int) -> str:
    """CPU time per sample of ``size`` bytes, and whether equal input gives equal bytes."""
    bodies, text = [bytes([n % 256]) * size for n in range(2048)], f"{size:>8,}"
    for write in (ours, theirs):
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            tar = write(bodies)
            times.append(time.process_time() - began)
        equal = "yes" if write(bodies) == tar else "no"
        text += f"{1e6 * statistics.median(times) / len(bodies):>12.1f}{equal:>8}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolutions", type=int, nargs="+", default=list(IMAGES))
    parser.add_argument("--seconds", type=float, default=0.4, help="of one measurement")
    options = parser.parse_args()
    print(f"{'':>4}{'bytes in a tar':>30}   images/s of one thread")
    heads = "".join(f"{name:>13}" for name in DECODERS)
    print(f" res{'npy':>10}{'png':>10}{'jpg q95':>10}{heads}  jpg dB")
    for resolution in options.resolutions:
        print(row(resolution, options.seconds), flush=True)
    print(f"\n{'':>8}{'ours, us a sample':>20}{'TarWriter':>20}")
    print(f"{'bytes':>8}" + f"{'us':>12}{'equal':>8}" * 2)
    for size in (176, 3200, 40_000):
        print(writing(size), flush=True)


if __name__ == "__main__":
    main()
