"""The loss."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dcvae.config.section import REMEDY, Section


class ObjectiveConfig(Section):
    """The loss terms, their weights, and the negatives."""

    method: Literal["vae", "vae_gan", "vae_contrastive", "dcvae"] = "dcvae"
    """The four methods of the paper's Table 1."""
    gan_loss: Literal["hinge", "wgan_gp"] = "wgan_gp"
    """Form of L_GAN (Eq. 4): hinge loss, or Wasserstein loss with a gradient penalty."""
    augment: bool = False
    """Show D augmented images, both real and generated (Zhao et al., 2020): for sets of fewer than
    30,000 images."""
    gan_weight: Annotated[float, REMEDY] = Field(default=1.0, ge=0)
    """Weight of L_GAN (Eq. 4) in the loss of encoder and decoder."""
    instance_weight: Annotated[float, REMEDY] = Field(default=1.0, ge=0)
    """Weight of L_instance (Eq. 6), the mean over the contrasted layers."""
    reconstruction_weight: Annotated[float, REMEDY] = Field(default=1.0, ge=0)
    """Weight of the pixel loss of ``vae`` (Eq. 1) or the feature loss of ``vae_gan`` (Eq. 3)."""
    kl_weight: Annotated[float, REMEDY] = Field(default=6.4e-5, ge=0)
    """Weight of the KL per image (released code: 1e-6 times the sum over a batch of 64)."""
    gradient_penalty: Annotated[float, REMEDY] = Field(default=10.0, ge=0)
    """WGAN-GP: weight of (‖∇D‖ − 1)²."""
    drift: Annotated[float, REMEDY] = Field(default=1e-3, ge=0)
    """WGAN-GP: weight of D(x)² on real images."""
    negatives: int = Field(default=8192, ge=1)
    """Keys of earlier images that each reconstruction is contrasted with (5.1, A.3); one queue per
    contrasted layer."""
    temperature: Annotated[float, REMEDY] = Field(default=0.07, gt=0)
    """τ, the temperature of Eq. 6 (He et al., 2020)."""
    key_momentum: Annotated[float, REMEDY] = Field(default=0.999, ge=0, le=1)
    """m of the key encoder's weights: θ_k ← m·θ_k + (1 − m)·θ_q (He et al., 2020)."""
    local_patches_after: int | None = Field(default=None, ge=0)
    """Images after which local patches (4.1) are contrasted too; none: never."""

    @model_validator(mode="after")
    def _augmentation_is_for_d(self) -> Self:
        """``objective.augment`` is not for ``objective.method=vae``, which has no D."""
        if self.augment and not self.uses_d:
            raise ValueError(
                "objective.augment is for what D sees, and objective.method=vae has no D; "
                "leave it out"
            )
        return self

    @property
    def adversarial(self) -> bool:
        """Whether Eq. 4 is part of the objective."""
        return self.method in ("vae_gan", "dcvae")

    @property
    def contrastive(self) -> bool:
        """Whether Eq. 6 is part of the objective."""
        return self.method in ("vae_contrastive", "dcvae")

    @property
    def uses_d(self) -> bool:
        """Whether the method has a dual encoder, D."""
        return self.adversarial or self.contrastive
