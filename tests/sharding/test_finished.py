"""A set that is there, or half there, is not gone on with by other words than it was made with."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.errors import UserError
from dcvae.sharding.shard import shard


@pytest.fixture
def photographs(tmp_path: Path) -> str:
    noise = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for n in range(20):
        pixels = noise.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{n}.png")
    return str(tmp_path / "photographs")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"test": 0.5}, r"was made with --test 0\.2, not 0\.5"),
        ({}, r"was made with --test 0\.2, not 0\.1"),
        ({"test": 0.2, "name": "x"}, "was made with --name photographs, not x"),
        ({"test": 0.2, "classes": "none"}, "was made with --classes auto, not none"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    photographs: str, uri: str, options: dict[str, object], sentence: str
) -> None:
    made = shard(photographs, uri, resolution=8, test=0.2)
    with pytest.raises(UserError, match=sentence):
        shard(photographs, uri, resolution=8, **options)  # type: ignore[arg-type]
    again = shard(photographs, uri, resolution=8, test=0.2, name="photographs")
    assert again == made, "the same words again change nothing"


def test_an_unfinished_set_is_not_gone_on_with_otherwise(
    photographs: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dcvae.sharding.shard.make_all", stop)
        with pytest.raises(KeyboardInterrupt):
            shard(photographs, uri, resolution=8, test=0.2)
    with pytest.raises(UserError, match=r"an unfinished set with test 0\.2 where this has 0\.5"):
        shard(photographs, uri, resolution=8, test=0.5)
    assert shard(photographs, uri, resolution=8, test=0.2).samples("test") == 4
