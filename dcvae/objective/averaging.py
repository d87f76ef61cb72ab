"""How fast the averaged weights follow the live ones."""

RAMP = 0.05
"""The half-life is at most this share of the images shown so far."""


def decay(images: int, shown: int, half_life: int) -> float:
    """d of ᾱ ← d·ᾱ + (1 − d)·α after a step on ``images``, ``shown`` in all: 2^(−images / h).

    h is ``half_life`` in images, but early in a run at most ``RAMP`` of the images shown, so that
    the initial weights are soon forgotten (Karras et al., 2020, and its released code). A half-life
    in images means the same at every batch size; a decay per step does not.
    """
    h = min(half_life, RAMP * shown)
    return float(0.5 ** (images / h))
