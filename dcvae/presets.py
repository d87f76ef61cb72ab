"""Named configurations: the experiments of the paper, and small ones for a laptop and for tests."""

from typing import Literal

from dcvae.config import (
    Config,
    ModelConfig,
    ObjectiveConfig,
    Phase,
    TrainingConfig,
    apply_settings,
)
from dcvae.errors import UserError, did_you_mean

# Karras et al., 2018, A.1: each resolution is faded in over 800k images and then trained for 800k.
FADE = STABLE = 800_000
# Images per step, by resolution, of their eight-GPU training.
BATCH = {4: 512, 8: 256, 16: 128, 32: 64}


def _growing(final: int) -> tuple[Phase, ...]:
    """Progressive GAN's schedule from 4 x 4 to ``final``; 4 x 4 is not faded in."""
    return tuple(
        Phase(
            resolution=r,
            images=STABLE,
            fade_images=FADE if r > 4 else 0,
            batch_size=BATCH.get(r, 32),
        )
        for r in (2**i for i in range(2, final.bit_length()))
    )


def _progan(preset: str, resolution: int, *, mirror: bool) -> Config:
    """Progressive GAN's backbone and optimizer, as paper 5.1 says for the larger data sets."""
    return Config(
        preset=preset,
        model=ModelConfig(backbone="progan", resolution=resolution, latent_dim=512),
        objective=ObjectiveConfig(gan_loss="wgan_gp"),
        training=TrainingConfig(
            phases=_growing(resolution),
            learning_rate=1e-3,
            adam_betas=(0.0, 0.99),
            mirror=mirror,
            checkpoint_activations_from=256,
        ),
    )


def _autogan(preset: str, *, channels: Literal[1, 3], latent_dim: int, images: int) -> Config:
    """AutoGAN's backbone at 32 x 32, with the released code's batches, ratio and optimizer."""
    return Config(
        preset=preset,
        model=ModelConfig(
            backbone="autogan", resolution=32, channels=channels, latent_dim=latent_dim
        ),
        objective=ObjectiveConfig(gan_loss="hinge"),
        training=TrainingConfig(
            phases=(Phase(resolution=32, images=images, batch_size=64),),
            learning_rate=2e-4,
            adam_betas=(0.0, 0.9),
            discriminator_steps=5,
            generator_batch_ratio=2,
            mirror=channels == 3,
        ),
    )


def _digits(preset: str, latent_dim: int) -> Config:
    """The demonstration: scikit-learn's digits, grown 4 → 8 → 16 on two CPU cores."""
    return Config(
        preset=preset,
        model=ModelConfig(
            resolution=16, channels=1, latent_dim=latent_dim, width_base=128, width_max=32
        ),
        objective=ObjectiveConfig(negatives=512, kl_weight=1e-3),
        training=TrainingConfig(
            phases=(
                Phase(resolution=4, images=4_000, batch_size=32),
                Phase(resolution=8, images=10_000, fade_images=2_000, batch_size=32),
                Phase(resolution=16, images=22_000, fade_images=2_000, batch_size=32),
            ),
            learning_rate=2e-3,
            average_decay=0.99,
            log_images=4_000,
            sample_images=8_000,
            checkpoint_images=8_000,
        ),
    )


def _smoke() -> Config:
    """Seconds long: every part of a run, no quality. For tests of the machinery."""
    return Config(
        preset="smoke",
        model=ModelConfig(resolution=8, channels=1, latent_dim=8, width_base=32, width_max=8),
        objective=ObjectiveConfig(negatives=64),
        training=TrainingConfig(
            phases=(
                Phase(resolution=4, images=64, batch_size=16),
                Phase(resolution=8, images=64, fade_images=64, batch_size=16),
            ),
            log_images=32,
            sample_images=96,
            checkpoint_images=64,
        ),
    )


PRESETS: dict[str, Config] = {
    config.preset: config
    for config in (
        _autogan("cifar10", channels=3, latent_dim=128, images=40_000_000),
        _autogan("stl10", channels=3, latent_dim=128, images=40_000_000),
        _progan("celeba128", 128, mirror=True),
        _progan("celebahq512", 512, mirror=True),
        _progan("lsun_bedroom128", 128, mirror=False),
        *(
            _autogan(f"mnist_z{d}", channels=1, latent_dim=d, images=6_000_000)
            for d in (16, 32, 64)
        ),
        _digits("digits", 16),
        *(_digits(f"digits_z{d}", d) for d in (16, 32, 64)),
        _smoke(),
    )
}


def configure(preset: str, settings: list[str] | None = None) -> Config:
    """The preset with ``section.key=value`` settings applied.

    Raises UserError for a preset that does not exist, an unknown key or an impossible value.
    """
    if preset not in PRESETS:
        close = did_you_mean(preset, PRESETS)
        raise UserError(f"there is no preset {preset!r}{close}; use one of: {', '.join(PRESETS)}")
    return apply_settings(PRESETS[preset], settings or [])
