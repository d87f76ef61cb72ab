"""What cameras write beside pictures never enters a shard."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from dcvae.sharding.shard import shard
from dcvae.shards.jpeg import without_metadata

SECRET = b"51.4779 north, 0.0015 west"


def picture(mode: str = "RGB", side: int = 256) -> Image.Image:
    coarse = np.random.default_rng(2).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert(mode)


def telling(mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG with all that may tell of its maker: EXIF with GPS, XMP, ICC, a comment, a trailer."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[29] = SECRET.decode()
    buffer = io.BytesIO()
    picture(mode).save(
        buffer, "JPEG", quality=92, exif=exif, xmp=b"<x:xmpmeta>" + SECRET, comment=SECRET,
        icc_profile=SECRET, **options,
    )  # fmt: skip
    return buffer.getvalue() + SECRET


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 2}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_nothing_but_the_picture_is_left(mode: str, options: Any) -> None:
    data = telling(mode, **options)
    assert data.count(SECRET) >= 5
    bare = without_metadata(data)
    assert bare is not None
    assert SECRET not in bare
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(bare))), np.asarray(Image.open(io.BytesIO(data)))
    )
    with Image.open(io.BytesIO(bare)) as opened:
        assert not opened.getexif()
        assert set(opened.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density",
                                    "progressive", "progression"}  # fmt: skip
    assert without_metadata(bare) == bare


def test_damaged_files_are_not_taken_apart() -> None:
    data = telling()
    chance = np.random.default_rng(4)
    for at in chance.integers(0, len(data), 300).tolist():
        without_metadata(data[:at])  # ends, and raises nothing
        body = bytearray(data)
        body[at] ^= 255
        without_metadata(bytes(body))
    for body in (b"", b"\xff\xd8", b"\xff\xd8\xff", data[:600], b"\xff\xd8\xff\xff\xff"):
        assert without_metadata(body) is None


def test_shards_hold_no_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.jpg").write_bytes(telling("RGB", subsampling=n % 3))
    for lossless in (False, True):
        place = tmp_path / f"set-{lossless}"
        shard(
            str(folder), str(place), resolution=256, min_resolution=128, lossless=lossless, test=0
        )
        for path in place.rglob("*.*"):
            if path.is_file():
                assert SECRET not in path.read_bytes(), path
                assert b"Exif" not in path.read_bytes(), path
    tar = (tmp_path / "set-False/train/r256/shard-000000.tar").read_bytes()
    start = tar.index(b"\xff\xd8")
    stored = tar[start : tar.index(b"\xff\xd9", start) + 2]
    theirs = {simplejpeg.decode_jpeg(telling("RGB", subsampling=n)).tobytes() for n in range(3)}
    assert simplejpeg.decode_jpeg(stored).tobytes() in theirs  # not coded once more
