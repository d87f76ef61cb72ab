"""Curves for TensorBoard, read with TensorBoard's own reader."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dcvae.curves import Curves
from dcvae.storage import open_storage
from dcvae.storage.embedded import EmbeddedS3

LINES = [
    {"images": images, "resolution": 8, "fade": 1.0, "kl": images / 7, "accuracy_low": 0.5}
    for images in (32, 64, 96)
]


def read(folder: Path) -> EventAccumulator:
    """All that TensorBoard reads in a folder."""
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def points(reader: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in reader.Scalars(tag)]


def written(folder: Path, lines: list[dict[str, float]]) -> Curves:
    curves = Curves(open_storage(str(folder)))
    for line in lines:
        curves.add(line)
    curves.write()
    return curves


def test_every_number_over_images(tmp_path: Path) -> None:
    written(tmp_path, LINES)
    reader = read(tmp_path)
    assert reader.Tags()["scalars"] == [
        "schedule/resolution",
        "schedule/fade",
        "loss/kl",
        "accuracy/low",
    ]
    expected = [(line["images"], pytest.approx(line["kl"])) for line in LINES]
    assert points(reader, "loss/kl") == expected


def test_a_resumed_run_has_no_step_twice_and_keeps_its_times(tmp_path: Path) -> None:
    written(tmp_path, LINES)
    looking = read(tmp_path)  # a TensorBoard that is open while the run is resumed
    times = [point.wall_time for point in looking.Scalars("loss/kl")]
    again = Curves(open_storage(str(tmp_path)))
    again.resume(64, LINES[:2])
    again.add({**LINES[2], "kl": 5.0})
    again.write()
    sizes = {file.name[-4:]: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes.pop("0000") == 0
    assert list(sizes) == ["0064"]
    reader = read(tmp_path)
    assert [step for step, _ in points(reader, "loss/kl")] == [32, 64, 96]
    assert points(reader, "loss/kl")[-1] == (96, 5.0)
    assert [point.wall_time for point in reader.Scalars("loss/kl")][:2] == times[:2]
    assert points(looking.Reload(), "loss/kl") == points(reader, "loss/kl")


@pytest.mark.parametrize("damage", ["gone", "cut", "nonsense"])
def test_what_cannot_be_read_is_made_again_from_the_metrics(tmp_path: Path, damage: str) -> None:
    written(tmp_path, LINES)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes({"gone": b"", "cut": content[:-70], "nonsense": b"x" * 500}[damage])
    again = Curves(open_storage(str(tmp_path)))
    again.resume(96, LINES)
    again.write()
    assert [step for step, _ in points(read(tmp_path), "loss/kl")] == [32, 64, 96]


def test_a_bucket_is_read_as_it_is(
    s3: EmbeddedS3, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``S3_ENDPOINT=… tensorboard --load_fast=false --logdir s3://…`` reads it."""
    curves = Curves(open_storage(s3_uri))
    for line in LINES:
        curves.add(line)
    curves.write()
    again = Curves(open_storage(s3_uri))
    again.resume(64, LINES[:2])
    again.add(LINES[2])
    again.write()
    monkeypatch.setenv("S3_ENDPOINT", s3.environment()["AWS_ENDPOINT_URL"])
    reader = EventAccumulator(s3_uri).Reload()
    assert [step for step, _ in points(reader, "loss/kl")] == [32, 64, 96]
