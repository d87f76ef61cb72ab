"""The networks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dcvae.config.section import Resolution, Section

AUTOGAN_RESOLUTION = 32
STDDEV_GROUP = 4
"""Images per group of Progressive GAN's minibatch standard deviation."""


class ModelConfig(Section):
    """The networks: encoder, decoder and dual encoder."""

    backbone: Literal["progan", "autogan"] = "progan"
    """Progressive GAN's growing networks, or AutoGAN's at 32 x 32 (paper 5.1)."""
    resolution: Resolution = 32
    """Side of the finished images in pixels, a power of two."""
    channels: Literal[1, 3] = 3
    """Colour channels of the images: 3 (RGB) or 1 (grey)."""
    latent_dim: int = Field(default=512, ge=1)
    """Dimensions of the latent z (paper 5.1: 128 at 32 x 32, 512 above)."""
    width_base: int = Field(default=8192, ge=1)
    """Progressive GAN: feature maps at resolution r are min(2·width_base / r, width_max)."""
    width_max: int = Field(default=512, ge=4)
    """Progressive GAN: the largest number of feature maps at any resolution."""
    decoder_width: int = Field(default=256, ge=4)
    """AutoGAN: feature maps of the decoder."""
    encoder_width: int = Field(default=128, ge=4)
    """AutoGAN: feature maps of the encoder and the dual encoder."""
    embedding_dim: int = Field(default=16, ge=2)
    """Dimensions of the contrastive embeddings (paper 5.1: 16)."""

    @model_validator(mode="after")
    def _autogan_has_one_resolution(self) -> Self:
        """``model.backbone=autogan`` makes 32 x 32 images."""
        r = self.resolution
        if self.backbone == "autogan" and r != AUTOGAN_RESOLUTION:
            raise ValueError(
                f"model.backbone=autogan makes 32x32 images, not {r}x{r}; "
                "use model.resolution=32 or model.backbone=progan"
            )
        return self

    @model_validator(mode="after")
    def _widths_narrow(self) -> Self:
        """``model.width_base`` is at least 4 x ``model.width_max``: 4x4 and 8x8 share a head."""
        if self.backbone == "progan" and self.width_base < 4 * self.width_max:
            raise ValueError(
                f"model.width_base={self.width_base} makes 8x8 maps narrower than 4x4 maps, which "
                f"share a head; use at least 4 x model.width_max = {4 * self.width_max}"
            )
        return self
