"""What a person sees of a training: all of it, in a log and on a terminal."""

import io
import os
import pty
import re
import subprocess
import sys
import time

from dcvae.messages import Progress
from dcvae.progress import Lines, training_text

VALUES = {
    "resolution": 16,
    "fade": 0.4,
    "gradient_penalty": 0.03125,
    "gan_discriminator": 0.5214,
    "kl": 31.42,
    "gan_generator": -0.2,
    "instance_low": 2.13,
    "accuracy_low": 0.412,
    "instance_high": 1.9,
    "accuracy_high": 0.52,
    "kl_contrastive": 30.1,
    "images_per_second": 1212.4,
    "data_wait_ratio": 0.031,
}
TEXT = (
    "16 px (40 % in), 1,212 images/s, 3 % waiting for data, penalty 0.0312, D 0.521, KL 31.4/30.1, "
    "G -0.2, instance 2.13/1.9, accuracy 41/52 %"
)


def test_every_term_is_in_the_line() -> None:
    assert training_text(VALUES) == TEXT


def test_other_methods_and_slow_machines() -> None:
    values = {"resolution": 32, "fade": 1.0, "kl": 12.0, "pixel": 0.25, "images_per_second": 0.5}
    assert training_text(values) == "32 px, 0.50 images/s, KL 12, pixel 0.25"


def test_a_log_has_the_time_that_is_left() -> None:
    out = io.StringIO()
    lines = Lines(interval=0, out=out)
    lines.training(Progress(1_000, 101_000, VALUES))
    time.sleep(1.01)
    lines.training(Progress(2_000, 101_000, VALUES))
    first, second = out.getvalue().splitlines()
    assert first == f"training images: 1,000 of 101,000 (0 %)  {TEXT}"
    assert re.fullmatch(r"training images: 2,000 of 101,000 \(1 %\), 2 min left  .*", second)


def test_what_a_training_says_of_the_time_goes_before_the_pace_so_far() -> None:
    out = io.StringIO()
    lines = Lines(interval=0, out=out)
    lines.training(Progress(1_000, 101_000, VALUES, seconds_left=2_700))
    lines.training(Progress(101_000, 101_000, VALUES, seconds_left=0))
    first, last = out.getvalue().splitlines()
    assert first == f"training images: 1,000 of 101,000 (0 %), 45 min left  {TEXT}"
    assert last == f"training images: 101,000 of 101,000 (100 %)  {TEXT}"


def test_a_narrow_terminal_shows_all_of_it() -> None:
    """A real terminal of 80 columns, on which nothing may be cut."""
    script = (
        "from dcvae.cli.show import training_shown\n"
        "from dcvae.messages import Progress\n"
        "with training_shown('') as show:\n"
        f"    show(Progress(1000, 4000, {VALUES}, 2700))\n"
    )
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "LINES": "30", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", script], stderr=theirs, env=environment, check=True)
    os.close(theirs)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(ours, 100_000).decode())
    os.close(ours)
    assert "1000/4000 45 min left" in shown
    assert TEXT in " ".join(shown.split())
