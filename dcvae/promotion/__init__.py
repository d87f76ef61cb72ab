"""Registers a model, and decides whether it becomes the champion."""

from dcvae.promotion.judge import Verdict, judge
from dcvae.promotion.register import Aids, Registration, measure_champion, register

__all__ = ["Aids", "Registration", "Verdict", "judge", "measure_champion", "register"]
