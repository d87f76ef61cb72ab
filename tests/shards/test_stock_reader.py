"""A published set in the hands of the stock webdataset package."""

from pathlib import Path

import numpy as np
import webdataset

from dcvae.sharding.shard import shard
from dcvae.shards.tar import ShardWriter
from dcvae.storage import open_storage
from dcvae.streaming.stream import read_split
from tests.painted import Painted


def test_every_level_has_equal_pixels_and_labels(photographs: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (photographs / name).mkdir()
    for n, path in enumerate(sorted(photographs.glob("*.jpg"))):
        path.rename(photographs / ("cat" if n % 3 else "dog") / path.name)
    for lossless in (False, True):
        place = tmp_path / f"set-{lossless}"
        options = {"resolution": 256, "samples_per_shard": 10, "lossless": lossless}
        manifest = shard(str(photographs), str(place), **options)  # type: ignore[arg-type]
        assert manifest.resolutions == [4, 8, 16, 32, 64, 128, 256]
        for resolution in manifest.resolutions:
            count = len(manifest.shards("train", resolution))
            urls = f"{place}/train/r{resolution}/shard-{{000000..{count - 1:06d}}}.tar"
            stock = webdataset.WebDataset(urls, shardshuffle=False)
            theirs = list(stock.decode("rgb8").to_tuple("npy;png;jpg", "cls", "__key__"))
            (ours,) = read_split(open_storage(str(place)), manifest, "train", resolution, 99)
            assert np.array_equal(
                np.stack([image for image, _, _ in theirs]), ours.images.permute(0, 2, 3, 1)
            )
            assert ours.labels is not None
            assert [label for _, label, _ in theirs] == ours.labels.tolist()
            assert [key for _, _, key in theirs] == [f"{n:09d}" for n in range(27)]


def test_samples_come_in_the_order_of_the_set(tmp_path: Path) -> None:
    painted = Painted(30)
    shard(painted, str(tmp_path), resolution=8, samples_per_shard=10)
    urls = [str(path) for path in sorted((tmp_path / "train/r8").iterdir())]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode().to_tuple("npy", "cls"))
    assert [int(image[0, 0, 1]) for image, _ in samples] == painted.order("train")
    assert [label for _, label in samples] == [n % 7 for n in painted.order("train")]


def test_a_set_is_read_like_what_the_packages_own_writer_writes(tmp_path: Path) -> None:
    """Not byte for byte: TarWriter writes an owner, and records of its own in headers."""
    writer = ShardWriter()
    with (tmp_path / "theirs.tar").open("wb") as stream:
        theirs = webdataset.TarWriter(stream, mtime=0, encoder=False)
        for n in range(5):
            body = bytes([n]) * (300 + n)
            writer.add(f"{n:09d}", "npy", body, n)
            theirs.write({"__key__": f"{n:09d}", "npy": body, "cls": str(n).encode()})
        theirs.close()
    (tmp_path / "ours.tar").write_bytes(writer.finish())
    read = [
        [(s["__key__"], s["npy"], s["cls"]) for s in webdataset.WebDataset(
            str(tmp_path / f"{whose}.tar"), shardshuffle=False)]
        for whose in ("ours", "theirs")
    ]  # fmt: skip
    assert read[0] == read[1]
    assert len(read[0]) == 5
