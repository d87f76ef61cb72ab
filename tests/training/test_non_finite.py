"""Whatever a run writes, every step that made it was finite."""

from pathlib import Path

from dcvae.training.telemetry import NonFiniteError
from tests.training import tasks
from tests.training.pool import Pool


def train_until_it_breaks(settings: list[str], data: str, out: str) -> str:
    """The loop itself; what it ended with."""
    from dcvae.training.loop import train

    try:
        train(tasks.config(settings), data, out)
    except NonFiniteError as error:
        return str(error)
    return "finished"


SELDOM_LOGGED = ["training.log_images=1000", "training.sample_images=1000"]


def test_a_snapshot_between_two_logs_is_of_finite_steps(
    pool: Pool, digits: Path, tmp_path: Path
) -> None:
    """The first step ends in weights of 1e30, which are finite; the second one overflows."""
    settings = [
        *SELDOM_LOGGED,
        "objective.method=vae",
        "training.learning_rate=1e30",
        "training.snapshot_images=16",
    ]
    told = pool.run(2, train_until_it_breaks, settings, str(digits), str(tmp_path))
    assert told[0] == told[1]
    assert told[0].startswith("the loss term ")
    assert "after 32 images" in told[0]
    assert [place.name for place in (tmp_path / "snapshots").iterdir()] == ["000000000016"]
    assert not (tmp_path / "checkpoints").exists()


def test_an_update_that_breaks_the_weights_is_not_saved(
    pool: Pool, digits: Path, tmp_path: Path
) -> None:
    """A step of infinite size leaves finite terms: only the weights show what has happened."""
    settings = [
        *SELDOM_LOGGED,
        "objective.method=vae",
        "training.learning_rate=1e39",
        "training.checkpoint_images=16",
    ]
    told = pool.run(2, train_until_it_breaks, settings, str(digits), str(tmp_path))
    assert told[0] == told[1]
    assert told[0].startswith("the weights autoencoder.")
    assert "became NaN or infinite after 16 images" in told[0]
    assert sorted(place.name for place in tmp_path.iterdir()) == ["broken.json", "config.json"]
