"""One of everything that the command reads or writes, small, and ways to damage it."""

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from tests.sharding import test_parquet as parquet
from tests.sharding import test_webdataset as tars

TELLING = (".json", ".jsonl", ".zip", ".tar", ".parquet", ".mdb", ".csv", ".txt", "")
"""Suffixes of files of which every byte says something."""
SNAPSHOT = "run/snapshots/000000000032"
PHASES = [{"resolution": r, "images": 16, "batch_size": 16} for r in (4, 8)]
SETTINGS = (
    f"training.phases={json.dumps(PHASES)}",
    "training.checkpoint_images=16",
    "training.log_images=16",
)


def make(folder: Path) -> None:
    """Pictures in all forms, published sets, a shard set, a run, half a run, an evaluation, a
    registry."""
    from tests.cli.run import command

    _pictures(folder)
    _idx(folder / "idx")
    _idx(folder / "sources" / "MNIST" / "raw")
    _published(folder / "sources")
    for split, numbers in (("train", range(16)), ("test", range(16, 24))):
        tars.write(folder / "tars" / f"{split}-000.tar", tars.samples(numbers))
        parquet.write(folder / "tables" / f"{split}-000.parquet", numbers)
    rows = [f"{number}.png,{'xyz'[number % 3]}\n" for number in range(24)]
    (folder / "labels.csv").write_text("".join(["file,label\n", *rows]))
    data, out = ("--data", "set"), ("--out", "run")
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    for words in (
        ("shard", "pictures", "set", "--resolution", "8", "--channels", "1", "--test", "0.3"),
        ("train", "--preset", "smoke", *data, *out, "--nproc", "1", *settings),
        ("evaluate", SNAPSHOT, *data, "--out", "evaluation", "--samples", "4"),
        ("register", SNAPSHOT, "--evaluation", "evaluation", "--registry", "registry",
         "--name", "toy"),
    ):  # fmt: skip
        code, said = command(folder, words)
        assert code == 0, said
    shutil.copytree(folder / "run", folder / "half")
    (folder / "half" / "result.json").unlink()
    shutil.rmtree(folder / "half" / "checkpoints" / "000000000032")


def _pictures(folder: Path) -> None:
    noise = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "pictures.zip", "w") as packed:
        for number in range(24):
            place = folder / "pictures" / "ab"[number % 2] / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 256, (8, 8), dtype=np.uint8)).save(place)
            packed.write(place, f"{place.parent.name}/{place.name}")


def _idx(folder: Path) -> None:
    """MNIST's own format: big-endian headers, then bytes."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1)
    for part, count in (("train", 16), ("t10k", 8)):
        pixels = noise.integers(0, 256, (count, 28, 28), dtype=np.uint8).tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, count, 28, 28) + pixels
        )
        labels = bytes(n % 3 for n in range(count))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, count) + labels
        )


def _published(folder: Path) -> None:
    """STL-10, CelebA and LSUN's bedrooms as they are published, with few images."""
    stl10, celeba = folder / "stl10_binary", folder / "celeba"
    stl10.mkdir()
    for file, count in (("train", 4), ("unlabeled", 5), ("test", 3)):
        np.zeros((count, 3, 96, 96), np.uint8).tofile(stl10 / f"{file}_X.bin")
        np.arange(1, count + 1, dtype=np.uint8).tofile(stl10 / f"{file}_y.bin")
    (celeba / "img_align_celeba").mkdir(parents=True)
    for number in range(9):
        picture = tars.picture(number, "JPEG")
        (celeba / "img_align_celeba" / f"{number}.jpg").write_bytes(picture)
    parts = [f"{number}.jpg {number // 3}\n" for number in range(9)]
    (celeba / "list_eval_partition.txt").write_text("".join(parts))
    for split, count in (("train", 12), ("val", 3)):
        place = str(folder / f"bedroom_{split}_lmdb")
        with lmdb.open(place, map_size=1 << 18) as database, database.begin(write=True) as write:
            for number in range(count):
                write.put(f"{number:040d}".encode(), tars.picture(number, "WEBP"))


def copy(stock: Path, folder: Path) -> None:
    """The stock again; files are links, so whoever changes one must replace it."""
    shutil.copytree(stock, folder, copy_function=os.link)


def damage(folder: Path, parts: Sequence[str], chance: random.Random) -> str:
    """Damage one file of ``parts`` of the stock in ``folder``; what was done, for a reader."""
    part = folder / chance.choice(parts)
    files = [part] if part.is_file() else sorted(p for p in part.rglob("*") if p.is_file())
    if not files:
        return f"{part.name} is gone"
    telling = [path for path in files if path.suffix in TELLING]
    file = chance.choice(telling if telling and chance.random() < 0.7 else files)
    body = file.read_bytes()
    file.unlink()
    name, new = chance.choice([("flip", _flip), ("cut", _cut), ("json", _json), ("other", _other)])
    if chance.random() < 0.1:
        file.mkdir()
        return f"{file.relative_to(folder)} is a folder"
    if chance.random() < 0.1:
        return f"{file.relative_to(folder)} is gone"
    file.write_bytes(new(body, chance))
    return f"{name} {file.relative_to(folder)}"


def _flip(body: bytes, chance: random.Random) -> bytes:
    new = bytearray(body)
    for _ in range(chance.choice([1, 1, 8])):
        if new:
            new[chance.randrange(len(new))] ^= 1 << chance.randrange(8)
    return bytes(new)


def _cut(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body) + 1)] + chance.choice([b"", b"", b"\0" * 40, b"}"])


def _other(body: bytes, chance: random.Random) -> bytes:
    return chance.choice([b"", b"{}", b"[]", b"null", b"1", b'"x"', b"[" * 100_000, b"\xff\xfe"])


VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 10**9, 10**400, 1e300, float("nan"), float("inf"), "", "x"),
    *("../../outside", "/etc/x", "\x1b[31mred", "a" * 300, [], {}, [1, 2], {"a": {}}, "\udcff"),
)


def _json(body: bytes, chance: random.Random) -> bytes:
    """Another value somewhere in a JSON file, or a key less; other files are flipped."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return _flip(body, chance)
    place, keys = content, []
    while isinstance(place, dict | list) and place:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        keys.append((place, key))
        place = place[key]
    if not keys:
        return json.dumps(chance.choice(VALUES)).encode()
    place, key = chance.choice(keys)
    if chance.random() < 0.2:
        del place[key]
    else:
        place[key] = chance.choice(VALUES)
    return json.dumps(content).encode()
