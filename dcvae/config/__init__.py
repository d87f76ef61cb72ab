"""The typed configuration of a run: what it may contain, and what cannot be combined.

A configuration is a preset plus settings (``section.key=value``), resolved once, saved with the
run and never changed afterwards. Unknown keys and impossible combinations are refused with one
sentence. Each setting is a field with its description and its bounds; ``OPERATIONAL`` marks those
that a resumed run may change, ``REMEDY`` those that may change after a NaN. docs/settings.md is
generated from them.
"""

from dcvae.config.data import DataConfig
from dcvae.config.model import STDDEV_GROUP, ModelConfig
from dcvae.config.objective import ObjectiveConfig
from dcvae.config.section import MIN_RESOLUTION
from dcvae.config.settings import REMEDIES, SETTINGS, apply_settings, parse_config
from dcvae.config.training import Phase, TrainingConfig
from dcvae.config.whole import Config

__all__ = [
    "MIN_RESOLUTION",
    "REMEDIES",
    "SETTINGS",
    "STDDEV_GROUP",
    "Config",
    "DataConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "Phase",
    "TrainingConfig",
    "apply_settings",
    "parse_config",
]
