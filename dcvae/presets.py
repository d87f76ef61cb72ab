"""Named configurations: the paper's experiments, and small ones for a laptop and for tests."""

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

# The eight-GPU recipe of Progressive GAN's released code (Karras et al., 2018; "preset-v2-8gpus"):
# each resolution is faded in over 600k images and trained for 600k more, the last one until
# 12 million images have been shown; batches shrink and rates grow with the resolution.
FADE = STABLE = 600_000
TOTAL = 12_000_000
BATCH = {4: 512, 8: 256, 16: 128, 32: 64}
SMALLEST_BATCH = 32
RATE = 1e-3
RATE_FACTOR = {128: 1.5, 256: 2.0, 512: 3.0}


def _growing(final: int) -> tuple[Phase, ...]:
    """This recipe from 4 x 4, which is not faded in, to ``final``."""
    below = [2**i for i in range(2, final.bit_length() - 1)]
    before = sum(STABLE + (FADE if r > 4 else 0) for r in below)
    return tuple(
        Phase(
            resolution=r,
            images=STABLE if r < final else TOTAL - before - FADE,
            fade_images=FADE if r > 4 else 0,
            batch_size=BATCH.get(r, SMALLEST_BATCH),
            learning_rate_factor=RATE_FACTOR.get(r, 1.0),
        )
        for r in (*below, final)
    )


def _progan(preset: str, resolution: int, *, mirror: bool) -> Config:
    """Progressive GAN's backbone, optimizer and recipe, as in 5.1 for the larger data sets."""
    return Config(
        preset=preset,
        model=ModelConfig(backbone="progan", resolution=resolution, latent_dim=512),
        objective=ObjectiveConfig(gan_loss="wgan_gp"),
        training=TrainingConfig(
            phases=_growing(resolution),
            learning_rate=RATE,
            adam_betas=(0.0, 0.99),
            mirror=mirror,
            snapshot_images=STABLE // 4,  # so that the last phase leaves several to choose from
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
            snapshot_images=images // 40,
        ),
    )


def _digits() -> Config:
    """The demonstration: scikit-learn's digits, grown 4 → 8 → 16 on two CPU cores.

    Rate and key encoder are for few updates, as in ``fashion``.
    """
    return Config(
        preset="digits",
        model=ModelConfig(resolution=16, channels=1, latent_dim=16, width_base=128, width_max=32),
        objective=ObjectiveConfig(negatives=512, kl_weight=1e-3, key_momentum=0.99),
        training=TrainingConfig(
            phases=(
                Phase(resolution=4, images=4_000, batch_size=32),
                Phase(resolution=8, images=10_000, fade_images=2_000, batch_size=32),
                Phase(resolution=16, images=22_000, fade_images=2_000, batch_size=32),
            ),
            learning_rate=5e-3,
            average_decay=0.99,
            log_images=4_000,
            sample_images=8_000,
            checkpoint_images=8_000,
            snapshot_images=4_000,
        ),
    )


def _fashion() -> Config:
    """70,000 real images on two CPU cores: Fashion-MNIST, grown 4 → 8 → 16 → 32.

    It is made for few updates (docs/results.md has what each change gave): batches of 16, eight
    times Progressive GAN's rate, and keys that follow D within 100 updates instead of 1,000.
    """
    batch = 16
    return Config(
        preset="fashion",
        model=ModelConfig(resolution=32, channels=1, latent_dim=32, width_base=256, width_max=64),
        objective=ObjectiveConfig(negatives=8192, kl_weight=1e-3, key_momentum=0.99),
        training=TrainingConfig(
            phases=(
                Phase(resolution=4, images=10_000, batch_size=batch),
                Phase(resolution=8, images=15_000, fade_images=5_000, batch_size=batch),
                Phase(resolution=16, images=25_000, fade_images=5_000, batch_size=batch),
                Phase(resolution=32, images=30_000, fade_images=10_000, batch_size=batch),
            ),
            learning_rate=8e-3,
            average_half_life=4_000,
            log_images=5_000,
            sample_images=20_000,
            checkpoint_images=20_000,
            snapshot_images=8_000,
        ),
    )


def _small64() -> Config:
    """For a few thousand pictures of your own: 64 x 64 in colour, grown from 4 x 4.

    Rate and batch are those of Progressive GAN's one-GPU recipe; D sees augmented images, so that
    it does not memorise the few there are.
    """
    return Config(
        preset="small64",
        model=ModelConfig(resolution=64, latent_dim=64, width_base=512, width_max=64),
        objective=ObjectiveConfig(augment=True, negatives=2048, kl_weight=1e-3),
        training=TrainingConfig(
            phases=(
                Phase(resolution=4, images=20_000, batch_size=16),
                Phase(resolution=8, images=20_000, fade_images=10_000, batch_size=16),
                Phase(resolution=16, images=40_000, fade_images=10_000, batch_size=16),
                Phase(resolution=32, images=60_000, fade_images=10_000, batch_size=16),
                Phase(resolution=64, images=210_000, fade_images=20_000, batch_size=16),
            ),
            average_half_life=5_000,
            sample_images=20_000,
            checkpoint_images=20_000,
            snapshot_images=20_000,
        ),
    )


def _smoke() -> Config:
    """Every part of a run in seconds, for tests of the machinery; the images are poor."""
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
            snapshot_images=32,
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
        _autogan("mnist", channels=1, latent_dim=64, images=6_000_000),
        _small64(),
        _digits(),
        _fashion(),
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


LAST, SELECT_BY = 5, "frechet_sampling"
"""How many of a run's last snapshots are compared, and by what, to find the one that is measured in
full; unless somebody says otherwise (see dcvae.evaluation.names)."""

_PAPER = ("cifar10", "stl10", "celeba128", "celebahq512", "lsun_bedroom128")


def default_protocol(preset: str) -> Literal["paper", "held-out"]:
    """The protocol that models of a preset are measured by unless another is given.

    The data sets of the paper's Tables 1 to 4 use the paper's; all others use held-out images,
    which works with any number of them (see dcvae.evaluation.protocol).
    """
    return "paper" if preset in _PAPER else "held-out"
