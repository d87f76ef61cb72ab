"""Shards that are not what was written: found, named, and never executed."""

import hashlib
import io
import pickle
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcvae.errors import UserError
from dcvae.shards import reader as shard_reader
from dcvae.shards.encodings import encode
from dcvae.shards.manifest import Manifest, Shard, fingerprint
from dcvae.shards.tar import BadShard, find_members
from dcvae.storage import open_storage
from dcvae.streaming.stream import read_split
from tests.conftest import ShardSet

FLIPS, TRUNCATIONS = 1000, 200


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (Path.touch, (self.path,))


def tar_of(members: dict[str, bytes], **changes: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            for attribute, value in changes.items():
                setattr(info, attribute, value)
            tar.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def image(value: int = 1, side: int = 4) -> bytes:
    return encode(np.full((side, side, 3), value, np.uint8), "npy")


def forged(
    place: Path, body: bytes, samples: int, encoding: str = "npy", side: int = 4
) -> ShardSet:
    """A set of one shard whose manifest vouches for ``body``."""
    key = f"train/r{side}/shard-000000.tar"
    digest = hashlib.sha256(body).hexdigest()
    shards = [Shard(key=key, samples=samples, bytes=len(body), sha256=digest)]
    splits = {"train": {str(side): shards}}
    manifest = Manifest.model_validate(
        {
            "format_version": 1, "name": "forged", "resolutions": [side], "channels": 3,
            "encoding": {str(side): encoding}, "samples_per_shard": 10, "splits": splits,
            "records": {"train": 1},
            "classes": None, "skipped": [], "source": {"uri": "x", "fingerprint": "0" * 64},
            "created_at": "", "dcvae_version": "", "fingerprint": fingerprint(splits),
        }
    )  # fmt: skip
    storage = open_storage(str(place))
    storage.write(key, body)
    return ShardSet(storage, manifest)


def read(source: ShardSet) -> None:
    for _ in read_split(*source, "train", source.manifest.resolutions[0], 10):
        pass


@pytest.fixture
def copy(painted: ShardSet, tmp_path: Path) -> ShardSet:
    shutil.copytree(painted.storage.root, tmp_path / "copy")  # type: ignore[attr-defined]
    return ShardSet(open_storage(str(tmp_path / "copy")), painted.manifest)


def test_every_flipped_bit_and_every_truncation_is_found(painted: ShardSet) -> None:
    entry = painted.manifest.shards("train", 8)[3]
    body = painted.storage.read(entry.key)
    assert shard_reader._mismatch(body, entry) == ""
    chance = np.random.default_rng(0)
    for bit in chance.integers(0, 8 * len(body), FLIPS).tolist():
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        assert "sha256" in shard_reader._mismatch(bytes(damaged), entry)
    for length in chance.integers(0, len(body), TRUNCATIONS).tolist():
        assert "bytes where" in shard_reader._mismatch(body[:length], entry)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_shard_is_named(
    copy: ShardSet, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_reader.time, "sleep", lambda _: None)
    key = copy.manifest.shards("train", 8)[2].key
    body = copy.storage.read(key)
    if damage == "gone":
        copy.storage.delete(key)
    else:
        flipped = body[:5000] + bytes([body[5000] ^ 4]) + body[5001:]
        copy.storage.write(key, {"flip": flipped, "cut": body[:-1], "empty": b""}[damage])
    with pytest.raises(UserError, match=r"train/r8/shard-000002\.tar"):
        list(read_split(*copy, "train", 8, 100))


def test_a_body_that_is_damaged_on_the_way_is_asked_for_again(
    copy: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_reader.time, "sleep", lambda _: None)
    key = copy.manifest.shards("train", 8)[2].key
    body, calls = copy.storage.read(key), []
    true_read = copy.storage.read

    def read_badly(wanted: str, *args: int) -> bytes:
        calls.append(wanted)
        return body[:-1] if calls.count(key) < 3 and wanted == key else true_read(wanted, *args)

    monkeypatch.setattr(copy.storage, "read", read_badly)
    assert sum(len(b.images) for b in read_split(*copy, "train", 8, 100)) == 1000
    assert calls.count(key) == 3


ATTACKS: dict[str, Callable[[Path], dict[str, bytes]]] = {
    "pkl": lambda mark: {"1.npy": image(), "1.pkl": pickle.dumps(Trap(mark))},
    "pickle": lambda mark: {"1.npy": image(), "1.pickle": pickle.dumps(Trap(mark))},
    "pyd": lambda mark: {"1.npy": image(), "1.pyd": pickle.dumps(Trap(mark))},
    "pth": lambda mark: {"1.npy": image(), "1.pth": pickle.dumps(Trap(mark))},
    "pkl.gz": lambda mark: {"1.npy": image(), "1.pkl.gz": pickle.dumps(Trap(mark))},
    "pipe": lambda mark: {f"pipe:touch {mark}": b"", "1.npy": image()},
    "only a trap": lambda mark: {"1.pkl": pickle.dumps(Trap(mark))},
    "dots": lambda mark: {f"../../../{mark}.npy": image()},
    "absolute": lambda mark: {f"{mark}.npy": image()},
    "upper case": lambda _: {"1.NPY": image()},
    "dotted key": lambda _: {"img.1.npy": image()},
    "same key twice": lambda _: {"1.npy": image(), "1.cls": b"1", "1.npy ": image()},
    "label first": lambda _: {"1.cls": b"1", "1.npy": image()},
    "foreign label": lambda _: {"1.npy": image(), "2.cls": b"1"},
    "no number": lambda _: {"1.npy": image(), "1.cls": b"-1; import os"},
    "half labelled": lambda _: {"1.npy": image(), "1.cls": b"1", "2.npy": image()},
    "other encoding": lambda _: {"1.jpg": image()},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_members_that_do_not_belong_are_refused(tmp_path: Path, attack: str) -> None:
    mark = tmp_path / "executed"
    body = tar_of(ATTACKS[attack](mark))
    with pytest.raises(UserError, match=r"shard-000000\.tar cannot be used"):
        read(forged(tmp_path / "set", body, 1))
    assert not mark.exists()


def pickled_npy(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        lambda mark: pickled_npy(mark),
        lambda _: image(side=8),
        lambda _: image()[:-1],
        lambda _: image().replace(b"|u1", b"|i1"),
        lambda _: b"",
    ],
)
def test_arrays_of_any_other_kind_are_refused(tmp_path: Path, body) -> None:  # type: ignore[no-untyped-def]
    mark = tmp_path / "executed"
    with pytest.raises(UserError, match="are not of shape"):
        read(forged(tmp_path / "set", tar_of({"1.npy": body(mark)}), 1))
    assert not mark.exists()


@pytest.mark.parametrize("kind", [b"1", b"2", b"5", b"L", b"x", b"g", b"S", b"\0", b"7"])
def test_only_plain_files(kind: bytes) -> None:
    with pytest.raises(BadShard, match="no plain file"):
        find_members(tar_of({"1.npy": b""}, type=kind, linkname="2.npy"), "npy")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>503</html>",
        bytes(100),
        tar_of({"1.npy": image()})[:512],
        tar_of({"1.npy": image()})[:700],
        tar_of({"1.npy": image()}) + b"x",
        tar_of({"1.npy": image()}) + tar_of({"2.npy": image()}),
    ],
)
def test_malformed_archives(body: bytes) -> None:
    with pytest.raises(BadShard):
        find_members(body, "npy")


def test_compressed_archives_are_not_unpacked(tmp_path: Path) -> None:
    import gzip

    body = gzip.compress(tar_of({"1.npy": image()}))
    with pytest.raises(UserError, match="cannot be used"):
        read(forged(tmp_path, body, 1))


def test_too_few_samples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 samples where the manifest says 2"):
        read(forged(tmp_path, tar_of({"1.npy": image()}), 2))


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_bomb_costs_nothing(tmp_path: Path, kind: str) -> None:
    """Its header says 12,000 x 12,000 pixels, which would take 400 MB."""
    import resource

    body = encode(np.zeros((256, 256, 3), np.uint8), kind)
    if kind == "png":
        header = b"IHDR" + (12_000).to_bytes(4, "big") * 2 + body[24:29]
        body = body[:12] + header + zlib.crc32(header).to_bytes(4, "big") + body[33:]
    else:
        body = body.replace(b"\x01\x00\x01\x00", (12_000).to_bytes(2, "big") * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"is bad: sample 0 is .*12000"):
        read(forged(tmp_path, tar_of({f"1.{kind}": body}), 1, kind, 256))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_damaged_images_in_a_vouched_shard_raise_and_do_not_crash(
    tmp_path: Path, kind: str
) -> None:
    good = encode(
        np.arange(256 * 256 * 3, dtype=np.uint32).astype(np.uint8).reshape(256, 256, 3), kind
    )
    chance = np.random.default_rng(3)
    refused = 0
    for n in range(60):
        body = bytearray(good)
        for at in chance.integers(0, len(body), 3):
            body[at] = chance.integers(256)
        cut = bytes(body[: chance.integers(1, len(body))]) if n % 2 else bytes(body)
        try:
            read(forged(tmp_path, tar_of({f"1.{kind}": cut}), 1, kind, 256))
        except UserError:
            refused += 1
    assert refused >= 30
